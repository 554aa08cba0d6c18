/// Where a prompt is cut so that the stages of a pipeline are done with it soonest.
///
/// A pure value. With C chunks of equal time S equal stages need C + S - 1 turns for the work of C: few chunks
/// leave stages idle at the beginning and the end, many pay for each chunk. Stages are seldom equal: layers
/// are whole, and the model's last layer is computed for the prompt's last row alone. Where the first stages
/// have more to do, the last ones catch up while chunks shrink, and little is left for them behind the first
/// stages' end; where the last stages have more to do, chunks grow. So chunks take times in a geometric
/// series, of which number and ratio are those that ``PipelineSimulation`` finds quickest. Source of the equal
/// times: SGLang's chunked pipeline, which shrinks later chunks by a quadratic fit.
public struct PipelineChunks: Sendable, Equatable {
  public let chunks: [Range<Int>]

  /// The inner ends.
  public var ends: [Int] { chunks.dropLast().map(\.upperBound) }

  /// - Parameters:
  ///   - positions: What is read.
  ///   - granule: Chunks end at multiples of it.
  ///   - count: So many chunks of equal time; nil for what takes least time.
  public init(
    _ positions: Range<Int>, stages: PipelineSimulation.Stages, costs: PipelineCosts,
    isSparse: Bool, granule: Int, count: Int? = nil
  ) {
    func cut(_ count: Int, _ ratio: Double) -> [Range<Int>] {
      Self.cut(
        positions, into: count, ratio: ratio, costs: costs, isSparse: isSparse, granule: granule)
    }
    if let count {
      chunks = cut(count, 1)
      return
    }
    let most = max(1, min(Self.mostChunks, positions.count / max(1, granule)))
    var best = (seconds: Double.infinity, count: 1, chunks: [positions])
    func consider(_ count: Int, _ ratio: Double) {
      let chunks = cut(count, ratio)
      let seconds = PipelineSimulation(
        stages, chunks: chunks, costs: costs, isSparse: isSparse
      ).seconds
      if seconds < best.seconds { best = (seconds, count, chunks) }
    }
    var number = 1
    while number <= most {
      consider(number, 1)
      number += max(1, number / 8)
    }
    let equal = best.count
    for ratio in Self.ratios where equal > 1 {
      for count in [equal * 2 / 3, equal * 5 / 6, equal, equal * 5 / 4, equal * 3 / 2]
      where (2...most).contains(count) { consider(count, ratio) }
    }
    chunks = best.chunks
  }

  /// More than these gain nothing.
  static let mostChunks = 512
  /// The time of a chunk over that of the one before it.
  static let ratios = [
    0.75, 0.85, 0.9, 0.93, 0.95, 0.97, 0.985, 1.015, 1.03, 1.05, 1.08, 1.12, 1.2,
  ]

  /// Cuts where the time that single tokens take reaches the shares of a geometric series.
  private static func cut(
    _ positions: Range<Int>, into count: Int, ratio: Double, costs: PipelineCosts, isSparse: Bool,
    granule: Int
  ) -> [Range<Int>] {
    guard count > 1, positions.count > granule else { return [positions] }
    // Sums over single tokens, each as the last of its chunk.
    func work(_ end: Int) -> Double {
      let (first, last) = (Double(positions.lowerBound), Double(end))
      let keys = (last * last - first * first) / 2
      let share = costs.sparseKeys / Double(positions.upperBound)
      return costs.perToken * (last - first)
        + costs.perPair * (isSparse ? min(1, share) * keys : keys)
    }
    let whole = work(positions.upperBound)
    var series = [0.0]
    var term = 1.0
    for _ in 0..<count {
      series.append(series[series.count - 1] + term)
      term *= ratio
    }
    var chunks: [Range<Int>] = []
    var start = positions.lowerBound
    for number in 1..<count {
      let wanted = whole * series[number] / series[count]
      var (low, high) = (start, positions.upperBound)
      while high - low > 1 {
        let middle = (low + high) / 2
        if work(middle) <= wanted { low = middle } else { high = middle }
      }
      let end = (low + granule / 2) / granule * granule
      guard end > start, end < positions.upperBound else { continue }
      chunks.append(start..<end)
      start = end
    }
    return chunks + [start..<positions.upperBound]
  }
}
