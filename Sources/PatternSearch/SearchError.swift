public import Compute

/// What a search can fail with, beside errors of the modules below; each description is one line
/// that says what to do.
public enum SearchError: RemediedError, Equatable, Sendable {
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

  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .budgetTooSmall(let seconds, let least):
      "no choice takes \(seconds) s: the fastest one takes \((least * 1000).rounded() / 1000) s; "
        + Remedy(use: .moreSeconds, .lowerTenthPercentile).text(naming: setting)
    case .sampleTooShort(let name, let tokens, let wanted):
      "\(name): has \(tokens) tokens, \(wanted) are wanted; "
        + Remedy(use: .longerText, .smallerLengths).text(naming: setting)
    case .noSamples:
      "there is no text to choose by; " + Remedy(use: .samples).text(naming: setting)
    case .foreignWorkFile(let file, let what):
      "\(file): belongs to a search with another \(what); give the same options as then; "
        + Remedy(use: .otherWorkFile).text(naming: setting)
    case .workFile(let file, let reason):
      "\(file): \(reason); " + Remedy(use: .otherWorkFile).text(naming: setting)
    case .normedAttentionOutput:
      "residual errors leave out the norm that this model puts behind attention; "
        + Remedy(use: .meanRecall).text(naming: setting)
    case .invalidOption(let name, let value, let allowed):
      "\(name) \(value): give \(allowed)"
    }
  }
}

/// What helps against a search's errors.
extension Remedy.Setting {
  public static let moreSeconds = Remedy.Setting("more seconds")
  public static let lowerTenthPercentile = Remedy.Setting("a lower floor of the tenth percentile")
  public static let longerText = Remedy.Setting("a longer text")
  public static let smallerLengths = Remedy.Setting("smaller lengths")
  public static let samples = Remedy.Setting("at least one sample")
  public static let otherWorkFile = Remedy.Setting("another work file")
  public static let meanRecall = Remedy.Setting("mean recall as the goal")
}
