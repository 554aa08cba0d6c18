/// The time of a search, in dense forward passes of its texts.
public struct SearchCost: Sendable {
  /// Seconds of the dense passes over the choosing samples.
  public let dense: Double
  /// Seconds beside them.
  public let calibrating: Double
  public let measuring: Double
  public let validating: Double
  /// Seconds of dense passes over all texts. Validating texts are never read densely: each counts as the
  /// choosing samples of its length do.
  public let allTextsDense: Double

  /// Everything together / dense passes over all texts.
  public var passes: Double {
    (dense + calibrating + measuring + validating) / allTextsDense
  }
}

extension SearchResult {
  /// What the search and its validations took; nil where a sample, or a part of it, came from a work
  /// file, or where a text that validates has a length that no sample has.
  public func cost(validations: [SearchValidation]) -> SearchCost? {
    guard samples.allSatisfy({ $0.denseSeconds > 0 && !$0.isResumed }) else { return nil }
    let dense = samples.reduce(0) { $0 + $1.denseSeconds }
    var allTexts = dense
    for validation in validations {
      let alike = samples.filter { $0.tokens == validation.tokens }
      guard !alike.isEmpty else { return nil }
      allTexts += alike.reduce(0) { $0 + $1.denseSeconds } / Double(alike.count)
    }
    return SearchCost(
      dense: dense, calibrating: calibrationSeconds,
      measuring: samples.reduce(0) { $0 + $1.measuringSeconds },
      validating: validations.reduce(0) { $0 + $1.totalSeconds }, allTextsDense: allTexts)
  }
}
