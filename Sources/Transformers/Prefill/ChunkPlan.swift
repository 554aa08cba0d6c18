import SparseAttention

/// How a prompt's positions are cut: into chunks, and chunks into blocks of rows.
///
/// Cuts lie at absolute multiples, so that where a prompt's reading begins (a cache may hold its
/// beginning already) changes no later chunk.
package struct ChunkPlan: Equatable {
  /// Consecutive ranges of positions.
  package let chunks: [Range<Int>]
  /// Rows of a block; a multiple of the tile rows and of the blocks that queries are pooled over.
  package let rowBlock: Int
  /// Blocks end at absolute multiples of it.
  private let unit: Int

  /// - Throws: ``TransformerError/invalidOption`` for sizes below 1.
  package init(
    positions: Range<Int>, chunk: Int?, chunkEnds: [Int]? = nil, rowBlock: Int, tileRows: Int,
    poolingBlock: Int = AttentionPlanner.poolingBlock
  ) throws {
    for (name, size) in [("the chunk", chunk ?? 1), ("the row block", rowBlock)] where size < 1 {
      throw TransformerError.invalidOption(name: name, value: "\(size)", allowed: "at least 1")
    }
    // A prompt has fewer positions than 2^40; larger sizes mean the same and must not overflow.
    func rounded(_ size: Int, up unit: Int) -> Int { (min(size, 1 << 40) + unit - 1) / unit * unit }
    unit = Self.leastCommonMultiple(tileRows, poolingBlock)
    self.rowBlock = rounded(rowBlock, up: unit)
    if let chunkEnds {
      let ends = chunkEnds.map { rounded($0, up: tileRows) }
        .filter { $0 > positions.lowerBound && $0 < positions.upperBound }
      let cuts = [positions.lowerBound] + Set(ends).sorted() + [positions.upperBound]
      chunks = zip(cuts, cuts.dropFirst()).map { $0..<$1 }
      return
    }
    chunks = chunk.map { Self.cut(positions, every: rounded($0, up: tileRows)) } ?? [positions]
  }

  private static func leastCommonMultiple(_ a: Int, _ b: Int) -> Int {
    var (divisor, rest) = (a, b)
    while rest != 0 { (divisor, rest) = (rest, divisor % rest) }
    return a / divisor * b
  }

  /// The blocks of a chunk: whole ones from its beginning on, so that a chunk that is no longer than a block
  /// is one, wherever it begins.
  package func rowBlocks(of chunk: Range<Int>) -> [Range<Int>] {
    let origin = chunk.lowerBound / unit * unit
    return Self.cut(chunk.lowerBound - origin..<chunk.upperBound - origin, every: rowBlock).map {
      $0.lowerBound + origin..<$0.upperBound + origin
    }
  }

  /// The same plan with further cuts, at the ends of the parts that `cut` makes of a chunk.
  init(_ plan: ChunkPlan, cutting cut: (Range<Int>) -> [Range<Int>]) {
    rowBlock = plan.rowBlock
    unit = plan.unit
    chunks = plan.chunks.flatMap(cut)
  }

  /// The parts of `range` between absolute multiples of `size`.
  static func cut(_ range: Range<Int>, every size: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min((start / size + 1) * size, range.upperBound)
      parts.append(start..<end)
      start = end
    }
    return parts
  }
}
