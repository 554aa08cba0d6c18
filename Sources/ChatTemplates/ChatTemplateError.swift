/// Why a chat template could not be read or did not accept a conversation.
///
/// `description` is one line of printable characters: the template's name, the line within it, and
/// what is wrong.
public struct ChatTemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What sort of problem it is.
  public enum Kind: Equatable, Sendable {
    /// The template is not well formed.
    case syntax
    /// The template uses a construct that this library does not have.
    case unsupported
    /// An expression has no value, such as the sum of a text and a number.
    case evaluation
    /// The template takes more work, memory or nesting than one rendering may.
    case exhausted
    /// The system gives no thread to render on.
    case noThread
    /// The template itself refused the conversation, by `raise_exception`.
    case raised
  }

  public let kind: Kind
  /// The line in the template, from 1.
  public let line: Int
  /// What is wrong; at most ``longestProblem`` characters.
  public let problem: String
  /// The template's name; its file, where it has one.
  public internal(set) var template = "chat template"

  /// The most characters of ``problem``.
  public static let longestProblem = 400

  init(_ kind: Kind, line: Int, _ problem: String) {
    self.kind = kind
    self.line = line
    self.problem = Self.printable(problem)
  }

  /// One line of limited length; control characters, which a template may hold, in a visible form.
  private static func printable(_ text: String) -> String {
    var line = ""
    var count = 0
    for scalar in text.unicodeScalars {
      if count >= longestProblem {
        line += "..."
        break
      }
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator, .format, .surrogate, .privateUse,
        .unassigned, .nonspacingMark, .enclosingMark, .spacingMark:
        let escaped = scalar.escaped(asASCII: true)
        line += escaped
        count += escaped.utf8.count
      default:
        line.unicodeScalars.append(scalar)
        count += 1
      }
    }
    return line
  }

  /// The same error about the template of this name.
  func named(_ name: String) -> ChatTemplateError {
    var error = self
    error.template = name
    return error
  }

  public var description: String { "\(template): line \(line): \(problem)" }
}
