/// What a line of a conversation asks for.
enum ChatCommandLine: Equatable {
  case question(String)
  case file(String)
  case save(String)
  case load(String)
  case stats
  case new
  case help
  case quit
  /// An empty line.
  case nothing
  /// In words.
  case wrong(String)

  static let helpText = """
    /file PATH   add a document; the next question follows it
    /save PATH   write the conversation to a file, keys and values included
    /load PATH   take up a saved conversation in place of this one
    /stats       figures of the last turn
    /new         begin anew; what the next conversation has in common is not read again
    /quit        end (as the end of input does)
    Any other line is a question; one that begins with a slash needs a space before it.

    """

  init(_ line: String) {
    let words = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
    guard let name = words.first, !line.allSatisfy(\.isWhitespace) else {
      self = .nothing
      return
    }
    guard line.hasPrefix("/") else {
      self = .question(line)
      return
    }
    let argument = words.count > 1 ? Self.trimmed(words[1]) : ""
    switch (name, argument.isEmpty) {
    case ("/file", false): self = .file(argument)
    case ("/save", false): self = .save(argument)
    case ("/load", false): self = .load(argument)
    case ("/stats", true): self = .stats
    case ("/new", true): self = .new
    case ("/help", true): self = .help
    case ("/quit", true): self = .quit
    case ("/file", true), ("/save", true), ("/load", true):
      self = .wrong("\(name): names no file; give \(name) PATH")
    case ("/stats", _), ("/new", _), ("/help", _), ("/quit", _):
      self = .wrong("\(name): \"\(argument)\" is not expected; give \(name) alone")
    default: self = .wrong("\(name): is no command; /help lists them")
    }
  }

  private static func trimmed(_ text: Substring) -> String {
    var text = text.drop(while: \.isWhitespace)
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
