/// Why an engine does not answer a request; each description is one line that says what to do.
public enum EngineError: Error, Sendable, Equatable, CustomStringConvertible {
  /// As many requests wait as may.
  case queueFull(length: Int)
  /// The request waited for as long as it may.
  case queueTimeout(seconds: Double)
  /// The engine stops, and takes no more.
  case stopping
  /// The sequence needs more memory than all of them together may take.
  case doesNotFit(tokens: Int, longest: Int)

  public var description: String {
    switch self {
    case .queueFull(let length):
      "\(length) requests are waiting already; try again later"
    case .queueTimeout(let seconds):
      "the request waited for \(Int(seconds)) seconds and was not begun; try again later"
    case .stopping:
      "the server is stopping; try again later"
    case .doesNotFit(let tokens, let longest):
      "\(tokens) tokens, prompt and answer together, do not fit the memory for keys and values, "
        + "which holds \(longest); shorten the prompt or ask for a shorter answer"
    }
  }
}
