/// The time that chunks take on their way through stages, from what layers cost.
///
/// A pure value: the same rules as the threads of a ``LayerPipeline`` follow, without devices.
public struct PipelineSimulation: Sendable, Equatable {
  /// From the first token to the logits behind the last.
  public let seconds: Double
  /// The work of each stage, without waiting.
  public let busySeconds: [Double]

  /// The share of the stages' time in which they work.
  public var utilization: Double {
    seconds > 0 ? busySeconds.reduce(0, +) / (seconds * Double(busySeconds.count)) : 1
  }

  /// - Parameters:
  ///   - layersOfStages: Layers of each stage.
  ///   - chunks: In order.
  public init(
    layersOfStages: [Int], chunks: [Range<Int>], costs: PipelineCosts, isSparse: Bool
  ) {
    let tokens = chunks.last?.upperBound ?? 0
    let layers = chunks.map { costs.layerSeconds($0, isSparse: isSparse, tokens: tokens) }
    let links = chunks.map(costs.linkSeconds)
    /// When each chunk is there for the next stage.
    var arrivals = [Double](repeating: 0, count: chunks.count)
    var busy: [Double] = []
    for (stage, count) in layersOfStages.enumerated() {
      let isLast = stage == layersOfStages.count - 1
      var free = 0.0
      var work = 0.0
      for chunk in chunks.indices {
        var seconds = Double(count) * layers[chunk]
        if stage == 0 { seconds += costs.embeddingPerToken * Double(chunks[chunk].count) }
        if isLast, chunk == chunks.count - 1 { seconds += costs.output }
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
