/// What attention computes in one (layer, chunk): the value between estimators and kernels.
///
/// Computed pairs (i, j) are the tiles of a head's row set united with its columns, restricted to
/// j <= i and to the model's own sliding window, each pair once. Tiles are supersets of what an
/// estimator asked for; within a tile there is no mask but causality and the window.
public indirect enum SparseIndex: Sendable {
  /// An index in the host's memory.
  case tiles(TileIndex)
  /// An index that a device built and keeps. Only that device's attention kernel can read it.
  case resident(any ResidentIndex)
  /// The pairs of another index whose keys lie in a range: a part of attention. Rows may be left without keys.
  case part(of: SparseIndex, keys: Range<Int>)

  /// Dense causal attention for every head; takes no memory.
  public static func dense(
    firstPosition: Int, rows: Int, heads: Int, tile: TileShape
  ) throws -> SparseIndex {
    .tiles(try .dense(firstPosition: firstPosition, rows: rows, heads: heads, tile: tile))
  }

  /// Position of the chunk's first query row.
  public var firstPosition: Int {
    switch self {
    case .tiles(let index): index.firstPosition
    case .resident(let index): index.grid.firstPosition
    case .part(let whole, _): whole.firstPosition
    }
  }

  /// Query rows in the chunk.
  public var rows: Int {
    switch self {
    case .tiles(let index): index.rows
    case .resident(let index): index.grid.rows
    case .part(let whole, _): whole.rows
    }
  }

  public var tile: TileShape {
    switch self {
    case .tiles(let index): index.tile
    case .resident(let index): index.grid.tile
    case .part(let whole, _): whole.tile
    }
  }

  /// Keys that the chunk may see: all positions up to its last row.
  public var keys: Int { firstPosition + rows }

  /// Whether this is a part of an index, whose rows may lack their diagonal tiles.
  public var isPart: Bool {
    switch self {
    case .tiles(let index): index.isPart
    case .resident: false
    case .part: true
    }
  }

  /// Keys that attention computes, whatever the row sets say; nil: all.
  public var keyRange: Range<Int>? {
    if case .part(_, let keys) = self { keys } else { nil }
  }

  /// Whether every head is known to compute every causal pair. Does not ask a device.
  public var isDense: Bool {
    switch self {
    case .tiles(let index): index.isDense
    case .resident, .part: false
    }
  }

  /// The index in the host's memory, for an operation that reads it. Of a part its row sets are cut.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for an index that a device keeps.
  public func hostTiles(_ operation: String) throws -> TileIndex {
    switch self {
    case .tiles(let index): return index
    case .resident:
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "the index belongs to another device")
    case .part(let whole, let keys):
      return try whole.hostTiles(operation).restricted(toKeys: keys)
    }
  }

  /// The index that a device keeps, or that this is a part of; nil for one in the host's memory.
  package var resident: (any ResidentIndex)? {
    switch self {
    case .tiles: nil
    case .resident(let index): index
    case .part(let whole, _): whole.resident
    }
  }
}

/// What recall and dual chunk attention make of either kind of index.
extension SparseIndex {
  /// For each query head, the pairs that it computes. Waits until a device has built the index.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for a part.
  public func computedPairs(slidingWindow: Int? = nil) throws -> [Int] {
    switch self {
    case .tiles(let index):
      return index.rowSetOfHead.indices.map {
        index.computedPairs(ofHead: $0, slidingWindow: slidingWindow)
      }
    case .resident(let index): return try index.computedPairs()
    case .part:
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "pairs are counted of a whole index")
    }
  }

  /// For each query head, whether it is known to compute every causal pair.
  package func denseHeads() throws -> [Bool] {
    switch self {
    case .tiles(let index): index.denseHeads
    case .resident(let index): try index.isDense()
    case .part(let whole, _): try whole.denseHeads().map { _ in false }
    }
  }

  /// The same index with every causal pair for some heads.
  package func replacingByAll(heads: Set<Int>) throws -> SparseIndex {
    switch self {
    case .tiles(let index): .tiles(index.replacingByAll(heads: heads))
    case .resident(let index): .resident(try index.makingDense(heads))
    case .part(let whole, let keys):
      .part(of: try whole.replacingByAll(heads: heads), keys: keys)
    }
  }

  /// The index of some of the rows alone, as ``TileIndex/part(positions:heads:)`` makes it. A device's index stays
  /// as it is: its kernel picks the rows, and all heads are as cheap as some.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for rows outside the index.
  package func part(positions: Range<Int>, heads: Set<Int>) throws -> SparseIndex {
    switch self {
    case .tiles(let index): return .tiles(try index.part(positions: positions, heads: heads))
    case .resident(let index):
      try index.grid.require(positions)
      return self
    case .part(let whole, let keys):
      return .part(of: try whole.part(positions: positions, heads: heads), keys: keys)
    }
  }

  /// The pairs of this index whose keys lie in `keys`: a part of attention, to be joined with others
  /// by ``Backend/mergeAttention(_:logSumExp:into:logSumExp:)``. Rows may be left without keys. Row sets stay as they
  /// are, also where a device keeps them: kernels pass over other keys.
  ///
  /// - Parameter keys: Begins at a tile boundary, and ends at one or at the index's last key; not empty.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for other ranges, and for a part.
  public func restricted(toKeys keys: Range<Int>) throws -> SparseIndex {
    guard keyRange == nil else {
      throw ComputeError.shapeMismatch(operation: "SparseIndex", detail: "a part of a part")
    }
    try TileIndex.require(keys, of: self.keys, tile: tile)
    return .part(of: self, keys: keys)
  }

  /// The same pairs on a finer grid of tiles, as ``TileIndex/onTiles(_:)`` makes them.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for other extents, and for an index
  ///   that a device keeps on other tiles.
  package func onTiles(_ tile: TileShape) throws -> SparseIndex {
    if tile == self.tile { return self }
    if case .part(let whole, let keys) = self {
      return .part(of: try whole.onTiles(tile), keys: keys)
    }
    return .tiles(try hostTiles("SparseIndex").onTiles(tile))
  }
}
