/// Why a chat template could not be read or did not accept a conversation.
///
/// `description` is one line: the template's name, the line within it, and what is wrong.
public struct ChatTemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What sort of problem it is.
  public enum Kind: Equatable, Sendable {
    /// The template is not well formed.
    case syntax
    /// The template uses a construct that is outside the supported part of Jinja.
    case unsupported
    /// An expression has no value, such as the sum of a text and a number.
    case evaluation
    /// The template itself refused the conversation, by `raise_exception`.
    case raised
  }

  public let kind: Kind
  /// The line in the template, from 1.
  public let line: Int
  /// What is wrong.
  public let problem: String
  /// The template's name; its file, where it has one.
  public internal(set) var template = "chat template"

  init(_ kind: Kind, line: Int, _ problem: String) {
    self.kind = kind
    self.line = line
    self.problem = Self.singleLine(problem)
  }

  /// Control characters, which a template may hold, in a visible form.
  private static func singleLine(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator, .format:
        line += scalar.escaped(asASCII: true)
      default: line.unicodeScalars.append(scalar)
      }
    }
    return line
  }

  public var description: String { "\(template): line \(line): \(problem)" }
}
