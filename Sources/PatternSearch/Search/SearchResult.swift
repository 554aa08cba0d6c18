public import SparseAttention

/// The result of a search by recall and time.
public struct SearchResult: Sendable {
  /// The candidates, dense first.
  public let patterns: [HeadPattern]
  public let samples: [SampleMeasurement]
  public let costs: CostModel
  /// Times that the costs were fitted to; nil if they came from a work file.
  public let calibration: Calibration.Result?
  /// Seconds that calibrating took in this run.
  public let calibrationSeconds: Double
  /// The options of all heads, [layer * heads + head].
  public let options: [HeadOptions]
  public let choice: Choice

  init(
    patterns: [HeadPattern], objective: SearchObjective, samples: [SampleMeasurement],
    costs: CostModel, calibration: Calibration.Result?, calibrationSeconds: Double
  ) throws {
    self.patterns = patterns
    self.samples = samples
    self.costs = costs
    self.calibration = calibration
    self.calibrationSeconds = calibrationSeconds
    options = SampleMeasurement.options(of: samples, patterns: patterns, costs: costs)
    choice = try Choice.best(of: options, for: objective)
  }

  public var layers: Int { samples.first?.layers.count ?? 0 }
  public var heads: Int { samples.first?.layers.first?.count ?? 0 }

  /// The chosen candidate of a head.
  public func chosen(layer: Int, head: Int) -> Int { choice.options[layer * heads + head] }

  /// [layer][head]
  public var chosenPatterns: [[HeadPattern]] {
    (0..<layers).map { layer in (0..<heads).map { patterns[chosen(layer: layer, head: $0)] } }
  }

  /// The measurements of a head under its choice, one for each sample.
  public func measured(layer: Int, head: Int) -> [CandidateMeasurement] {
    let candidate = chosen(layer: layer, head: head)
    return samples.map { $0.layers[layer][head][candidate] }
  }

  /// Computed / causal pairs of a candidate in a head, over all samples.
  public func density(layer: Int, head: Int, candidate: Int) -> Double {
    let pairs = samples.reduce(0.0) { $0 + Double($1.layers[layer][head][candidate].work.pairs) }
    return pairs / samples.reduce(0.0) { $0 + Double($1.layers[layer][head][0].work.pairs) }
  }

  /// The same for the choice over all heads.
  public var density: Double {
    guard layers * heads > 0 else { return 1 }
    return (0..<layers).reduce(0.0) { sum, layer in
      (0..<heads).reduce(sum) {
        $0 + density(layer: layer, head: $1, candidate: chosen(layer: layer, head: $1))
      }
    } / Double(layers * heads)
  }

  /// Predicted seconds of attention, all heads dense.
  public var denseSeconds: Double { options.reduce(0) { $0 + $1.options[0].seconds } }
}
