/// What a search can fail with, beside errors of the modules below; each description is one line
/// that says what to do.
public enum SearchError: Error, Equatable, Sendable, CustomStringConvertible {
  /// No choice is that fast.
  case budgetTooSmall(seconds: Double, least: Double)
  /// A sample has fewer tokens than it should.
  case sampleTooShort(name: String, tokens: Int, wanted: Int)
  /// There is nothing to choose by.
  case noSamples
  /// The work file belongs to another search.
  case foreignWorkFile(file: String, what: String)
  /// The work file cannot be read or written.
  case workFile(file: String, reason: String)
  /// The model adds what attention gives after another norm, which residual errors leave out.
  case normedAttentionOutput
  /// A number is out of range.
  case invalidOption(name: String, value: String, allowed: String)

  public var description: String {
    switch self {
    case .budgetTooSmall(let seconds, let least):
      "--seconds \(seconds): the fastest choice takes \((least * 1000).rounded() / 1000) s; allow "
        + "more seconds or lower --tenth-percentile"
    case .sampleTooShort(let name, let tokens, let wanted):
      "\(name): has \(tokens) tokens, \(wanted) are wanted; give a longer text or smaller --lengths"
    case .noSamples:
      "--samples: there is no text to choose by; name at least one file"
    case .foreignWorkFile(let file, let what):
      "\(file): belongs to a search with another \(what); give the same options as then, or "
        + "another --resume file"
    case .workFile(let file, let reason):
      "\(file): \(reason)"
    case .normedAttentionOutput:
      "--residual-error: this model norms what attention adds, which the measure leaves out; give "
        + "--mean-recall instead"
    case .invalidOption(let name, let value, let allowed):
      "\(name) \(value): give \(allowed)"
    }
  }
}
