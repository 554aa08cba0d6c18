/// The time that chunks take on their way through stages, from what layers cost.
///
/// A pure value: the same rules as the threads of a ``LayerPipeline`` follow, without devices.
public struct PipelineSimulation: Sendable, Equatable {
  /// The layers of the stages, and how fast each stage is.
  public struct Stages: Sendable, Hashable {
    /// Layers of each stage.
    public var layers: [Int]
    /// The time of a layer on each stage's device over that of the costs.
    public var slowness: [Double]
    /// Whether the output of the prompt's last row alone is wanted, so that the model's last layer stores
    /// keys and values for all others.
    public var lastRowOnly: Bool

    public init(layers: [Int], slowness: [Double]? = nil, lastRowOnly: Bool = true) {
      self.layers = layers
      self.slowness = slowness ?? layers.map { _ in 1 }
      self.lastRowOnly = lastRowOnly
    }
  }

  /// From the first token to the logits behind the last.
  public let seconds: Double
  /// The work of each stage, without waiting.
  public let busySeconds: [Double]

  /// The share of the stages' time in which they work.
  public var utilization: Double {
    seconds > 0 ? busySeconds.reduce(0, +) / (seconds * Double(busySeconds.count)) : 1
  }

  /// - Parameter chunks: In order.
  public init(_ stages: Stages, chunks: [Range<Int>], costs: PipelineCosts, isSparse: Bool) {
    let tokens = chunks.last?.upperBound ?? 0
    let layers = chunks.map { costs.layerSeconds($0, isSparse: isSparse, tokens: tokens) }
    let lastLayers = chunks.map(costs.lastLayerSeconds)
    let links = chunks.map(costs.linkSeconds)
    /// When each chunk is there for the next stage.
    var arrivals = [Double](repeating: 0, count: chunks.count)
    var busy: [Double] = []
    for (stage, (count, slowness)) in zip(stages.layers, stages.slowness).enumerated() {
      let isLast = stage == stages.layers.count - 1
      let skips = isLast && stages.lastRowOnly
      var free = 0.0
      var work = 0.0
      for chunk in chunks.indices {
        var seconds = Double(skips ? count - 1 : count) * layers[chunk]
        if skips { seconds += lastLayers[chunk] }
        if stage == 0 { seconds += costs.embeddingPerToken * Double(chunks[chunk].count) }
        if isLast, chunk == chunks.count - 1 { seconds += costs.output }
        seconds *= slowness
        free = max(free, arrivals[chunk]) + seconds
        work += seconds
        arrivals[chunk] = free + (isLast ? 0 : links[chunk])
      }
      busy.append(work)
    }
    seconds = arrivals.last ?? 0
    busySeconds = busy
  }
}
