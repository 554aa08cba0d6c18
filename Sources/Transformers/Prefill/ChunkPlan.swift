/// How a prompt's positions are cut: into chunks, and chunks into blocks of rows.
///
/// Cuts lie at absolute multiples, so that where a prompt's reading begins (a cache may hold its
/// beginning already) changes no later chunk.
package struct ChunkPlan: Equatable {
  /// Consecutive ranges of positions.
  package let chunks: [Range<Int>]
  /// Rows of a block; a multiple of the tile rows.
  package let rowBlock: Int

  /// Chunks with fewer rows than this have too few last rows to estimate from, and are dense.
  static let leastSparseRows = 64

  /// - Throws: ``TransformerError/invalidOption`` for sizes below 1.
  package init(positions: Range<Int>, chunk: Int?, rowBlock: Int, tileRows: Int) throws {
    for (name, size) in [("the chunk", chunk ?? 1), ("the row block", rowBlock)] where size < 1 {
      throw TransformerError.invalidOption(name: name, value: "\(size)", allowed: "at least 1")
    }
    // A prompt has fewer positions than 2^40; larger sizes mean the same and must not overflow.
    let roundedUp = { (size: Int) in (min(size, 1 << 40) + tileRows - 1) / tileRows * tileRows }
    self.rowBlock = roundedUp(rowBlock)
    chunks = chunk.map { Self.cut(positions, every: roundedUp($0)) } ?? [positions]
  }

  /// The blocks of a chunk.
  package func rowBlocks(of chunk: Range<Int>) -> [Range<Int>] { Self.cut(chunk, every: rowBlock) }

  /// The parts of `range` between absolute multiples of `size`.
  private static func cut(_ range: Range<Int>, every size: Int) -> [Range<Int>] {
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
