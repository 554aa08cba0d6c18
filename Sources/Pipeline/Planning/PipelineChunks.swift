/// Where a prompt is cut so that all chunks take about equal time in a stage, and the whole takes least.
///
/// A pure value. With C chunks of equal time the stages need C + S - 1 turns for the work of C: few chunks
/// leave stages idle at the beginning and the end, many pay for each chunk. Source of the equal times:
/// SGLang's chunked pipeline, which shrinks later chunks by a quadratic fit.
public struct PipelineChunks: Sendable, Equatable {
  public let chunks: [Range<Int>]

  /// The inner ends.
  public var ends: [Int] { chunks.dropLast().map(\.upperBound) }

  /// - Parameters:
  ///   - positions: What is read.
  ///   - layers: Of the stage that has most.
  ///   - granule: Chunks end at multiples of it.
  ///   - count: So many chunks; nil for the number that takes least time.
  public init(
    _ positions: Range<Int>, stages: Int, layers: Int, costs: PipelineCosts, isSparse: Bool,
    granule: Int, count: Int? = nil
  ) {
    func cut(_ count: Int) -> [Range<Int>] {
      Self.cut(positions, into: count, costs: costs, isSparse: isSparse, granule: granule)
    }
    if let count {
      chunks = cut(count)
      return
    }
    let most = max(1, min(Self.mostChunks, positions.count / max(1, granule)))
    var best: (seconds: Double, chunks: [Range<Int>])?
    var number = 1
    while number <= most {
      let chunks = cut(number)
      let seconds = PipelineSimulation(
        layersOfStages: Array(repeating: layers, count: stages), chunks: chunks, costs: costs,
        isSparse: isSparse
      ).seconds
      if seconds < best?.seconds ?? .infinity { best = (seconds, chunks) }
      number += max(1, number / 8)
    }
    chunks = best?.chunks ?? [positions]
  }

  /// More than these gain nothing.
  static let mostChunks = 512

  /// Cuts at equal shares of the time that single tokens take.
  private static func cut(
    _ positions: Range<Int>, into count: Int, costs: PipelineCosts, isSparse: Bool, granule: Int
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
    var chunks: [Range<Int>] = []
    var start = positions.lowerBound
    for number in 1..<count {
      let wanted = whole * Double(number) / Double(count)
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
