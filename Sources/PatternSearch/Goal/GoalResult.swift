public import SparseAttention

/// The result of a search for patterns that keep a ``SearchGoal``.
public struct GoalResult: Sendable {
  /// A choice that was run end to end.
  public struct Trial: Sendable {
    /// A rule that all heads share, or "by head" with a number.
    public let name: String
    public let figures: [SearchFigures.Length]
    public let isKept: Bool
    /// The part of each text that was read, from its beginning. Below 1, retrieval prompts were left out.
    public let share: Double
    /// The sum of the errors of its heads on the probed sample: the basis of the first guess of its
    /// divergence.
    public let headErrors: Double
  }

  public let goal: SearchGoal
  /// The name of the choice, as of its trial.
  public let name: String
  /// [layer][head]
  public let patterns: [[HeadPattern]]
  /// [layer][head]: computed / causal pairs, where the choice was read last.
  public let densities: [[Double]]
  /// On the choosing samples; empty where no pass was left to try the choice.
  public let promised: [SearchFigures.Length]
  /// On the validating samples, which are held out.
  public let validated: [SearchFigures.Length]
  /// At lengths beyond those of the search, on held-out samples.
  public var validatedBeyond: [SearchFigures.Length] = []
  /// Choices that did not keep the goal on the validating samples, so that a more careful one was taken.
  public let corrected: [String]
  public let trials: [Trial]
  public let passes: SearchPasses
  /// The lengths of the choosing samples.
  public let lengths: [Int]
  /// Names of the choosing samples.
  public let samples: [String]
  public let costs: SparseCostModel

  /// Whether the validated figures keep the goal; nil where nothing was validated.
  public var isKept: Bool? { validated.isEmpty ? nil : goal.isKept(validated) }

  public var layers: Int { patterns.count }
  public var heads: Int { patterns.first?.count ?? 0 }

  /// The patterns with the number of heads of each, most first.
  public var counts: [(pattern: HeadPattern, heads: Int)] {
    var counts: [HeadPattern: Int] = [:]
    for pattern in patterns.joined() { counts[pattern, default: 0] += 1 }
    func text(_ pattern: HeadPattern) -> String {
      pattern.name + pattern.budgets.map(\.text).joined(separator: " ")
    }
    return counts.map { ($0.key, $0.value) }.sorted {
      ($1.heads, text($0.pattern)) < ($0.heads, text($1.pattern))
    }
  }

  /// The pattern file.
  ///
  /// - Parameters:
  ///   - model: The model's name.
  ///   - fingerprint: Of its weights.
  ///   - device: The name of the backend that measured.
  public func configuration(
    model: String, fingerprint: String, device: String
  ) -> PatternConfiguration {
    var metadata = PatternMetadata(
      model: model, device: device, samples: samples, tokens: lengths.last,
      fingerprint: fingerprint, lengths: lengths, costs: costs)
    metadata.search = SearchFigures(
      goal: goal.text, choice: name, isKept: isKept, promised: promised,
      validated: validated + validatedBeyond)
    return PatternConfiguration(
      patterns: patterns,
      measurements: densities.map { layer in
        layer.map { HeadMeasurement(density: ($0 * 1e4).rounded() / 1e4) }
      }, metadata: metadata)
  }
}
