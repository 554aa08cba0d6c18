import Compute
public import SparseAttention
import Transformers

/// A run of the chosen patterns on a held-out text, as they will be used.
public struct SearchValidation: Sendable {
  public let name: String
  public let tokens: Int
  /// [layer][head], on the sparse run's own queries and keys; nil for a head without sampled rows.
  public let heads: [[HeadRecall?]]
  /// Computed / causal pairs over all heads.
  public let density: Double
  /// Seconds of the prefill, without measuring.
  public let seconds: Double
  /// Seconds with measuring and everything else.
  public let totalSeconds: Double
  /// Of ``seconds``, the attention kernel and the indices.
  public let attentionSeconds: Double

  private var means: [Double] { heads.joined().compactMap { $0?.mean } }

  /// Mean over heads of the mean over rows, and the worst head's.
  public var recall: RecallFigures {
    let means = means
    return RecallFigures(
      mean: means.isEmpty ? 1 : means.reduce(0, +) / Double(means.count), worst: means.min() ?? 1)
  }
}

extension PatternSearch {
  /// Reads a text with the chosen patterns and measures recall as the design defines it: on the
  /// sparse run's own queries and keys. Takes less than a dense pass.
  public func validate(_ result: SearchResult, on sample: SearchSample) throws -> SearchValidation {
    let planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: result.chosenPatterns),
      costModel: result.planningCosts)
    let options = options
    let clock = ContinuousClock()
    let start = clock.now
    let cache = try model.makeCache(
      capacity: sample.ids.count, keyValues: KeyValueOptions(type: options.keyValueType),
      chunk: options.chunk, planner: planner)
    let report = try model.prefill(
      sample.ids, cache: cache,
      options: PrefillOptions(
        planner: planner, chunk: options.chunk, measureRecall: true,
        progress: {
          try options.progress(
            SearchProgress(
              stage: "validation on " + sample.name, fraction: $0.fraction, tokens: $0.tokens))
        }, isCancelled: options.isCancelled)
    ).report
    return SearchValidation(
      name: sample.name, tokens: sample.ids.count,
      heads: report.headRecalls ?? report.computedPairs.map { $0.map { _ in nil } },
      density: report.density, seconds: report.seconds, totalSeconds: (clock.now - start).inSeconds,
      attentionSeconds: report.kernelSeconds + report.indexSeconds)
  }
}
