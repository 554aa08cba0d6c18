/// Why a tokenizer could not be loaded, or why a text could not be encoded.
///
/// `description` is one line: the file, what is wrong with it (the stage or the byte), what to do.
public struct TokenizerError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What sort of problem it is, for callers that choose an exit code.
  public enum Kind: Equatable, Sendable {
    /// The file does not exist or cannot be read.
    case unreadable
    /// The file is not valid UTF-8, not valid JSON, or lacks a field.
    case malformed
    /// The file asks for a stage, a pattern or a size that this library does not have.
    case unsupported
    /// The fields are each well formed but contradict one another.
    case inconsistent
    /// The text given to `encode(bytes:)` is not valid UTF-8.
    case invalidText
  }

  /// The sort of problem.
  public let kind: Kind
  /// The file it is about; the name of the text for `.invalidText`.
  public let file: String
  /// What is wrong, with the numbers.
  public let problem: String

  package init(_ kind: Kind, _ file: String, _ problem: String) {
    self.kind = kind
    self.file = file
    self.problem = Self.singleLine(problem)
  }

  /// How much of a problem's text is shown.
  private static let longestProblem = 400

  /// Control characters, which texts from a file may hold, in a visible form; what is too long is cut.
  static func singleLine(_ text: String) -> String {
    var line = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
      if index == longestProblem { return line + "…" }
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator, .format:
        line += scalar.escaped(asASCII: true)
      default: line.unicodeScalars.append(scalar)
      }
    }
    return line
  }

  public var description: String { "\(file): \(problem)" }
}
