import SparseAttention

/// Measurements of every candidate in every head on one sample.
public struct SampleMeasurement: Sendable {
  public let name: String
  public let tokens: Int
  /// The ranges of positions that were estimated each by its own last rows.
  public let chunks: [Range<Int>]
  /// [layer][head][candidate]
  public internal(set) var layers: [[[CandidateMeasurement]]] = []
  /// Seconds of the dense forward pass that gave the queries and keys; of those layers that were
  /// walked through in this run.
  public internal(set) var denseSeconds = 0.0
  /// Seconds of measuring, in addition.
  public internal(set) var measuringSeconds = 0.0
  /// Whether layers came from a work file.
  public internal(set) var isResumed = false

  /// Causal pairs of one head.
  public var causalPairs: Int { tokens * (tokens + 1) / 2 }
}

extension SampleMeasurement {
  /// The options of all heads, [layer * heads + head], over several samples: seconds are added,
  /// recalls are those of the sample where they are least,
  /// errors those where they are most.
  static func options(
    of samples: [SampleMeasurement], patterns: [HeadPattern], costs: CostModel
  ) -> [HeadOptions] {
    guard let first = samples.first else { return [] }
    return first.layers.indices.flatMap { layer in
      first.layers[layer].indices.map { head in
        HeadOptions(
          patterns.enumerated().map { candidate, pattern in
            var option = HeadOption(
              seconds: 0, recall: 1, tenthPercentile: 1,
              outputError: pattern == .dense ? 0 : nil)
            for sample in samples {
              let measured = sample.layers[layer][head][candidate]
              option.seconds += costs.seconds(
                measured.work, pattern: pattern, chunks: sample.chunks)
              option.recall = min(option.recall, measured.recall)
              option.tenthPercentile = min(option.tenthPercentile, measured.tenthPercentile)
              if let error = measured.outputError {
                option.outputError = max(option.outputError ?? 0, error)
              }
              option.residualError = max(option.residualError, measured.residualError)
            }
            return option
          })
      }
    }
  }
}
