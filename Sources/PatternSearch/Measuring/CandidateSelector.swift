import Compute
import SparseAttention

/// Turns the candidates into row sets of one chunk, as the planner would when it runs.
struct CandidateSelector {
  let grid: TileGrid
  let headDim: Int
  let columnsThatFillTile: Int
  /// Whether the planner would compute the chunk densely, whatever the patterns.
  private let isDense: Bool
  /// Row sets that depend on the lengths alone, made once for all heads and layers.
  private let fixed: [HeadPattern: RowSet]

  init(
    patterns: [HeadPattern], grid: TileGrid, headDim: Int, columnsThatFillTile: Int,
    denseBelow: Int
  ) {
    isDense = grid.rows < VerticalSlashRule.lastRows || grid.keys < denseBelow
    self.grid = grid
    self.headDim = headDim
    self.columnsThatFillTile = columnsThatFillTile
    var fixed: [HeadPattern: RowSet] = [:]
    for pattern in patterns where !isDense {
      guard let selection = Self.fixedSelection(pattern, keys: grid.keys) else { continue }
      fixed[pattern] = selection.rowSet(on: grid, columnsThatFillTile: columnsThatFillTile)
    }
    self.fixed = fixed
  }

  /// The selection of a pattern that needs no estimate; nil for the others.
  private static func fixedSelection(_ pattern: HeadPattern, keys: Int) -> PairSelection? {
    switch pattern {
    case .dense: Dense.selection()
    case .aShape(let sink, let local): AShape.selection(sink: sink, local: local, keys: keys)
    case .triShape(let sink, let local, let last):
      TriShape.selection(sink: sink, local: local, last: last, keys: keys)
    case .dilated(let sink, let window, let stride):
      Dilated.selection(sink: sink, window: window, stride: stride, keys: keys)
    case .strided(let sink, let local, let window, let stride):
      Strided.selection(sink: sink, local: local, window: window, stride: stride, keys: keys)
    case .verticalSlash, .staticVerticalSlash, .blockSparse: nil
    }
  }

  /// The row set of a pattern for one head.
  ///
  /// - pooledQueries, pooledKeys: the head's means, [blocks * headDim].
  func rowSet(
    _ pattern: HeadPattern, sums: LastRowSums, pooledQueries: [Float], pooledKeys: [Float]
  ) -> RowSet {
    if isDense { return .all }
    if let rowSet = fixed[pattern] { return rowSet }
    let selection: PairSelection
    switch pattern {
    case .verticalSlash(let vertical, let slash), .staticVerticalSlash(let vertical, let slash):
      if VerticalSlash.takesEverything(vertical: vertical, slash: slash, keys: grid.keys) {
        return .all
      }
      selection = .bands(VerticalSlash.selection(sums, vertical: vertical, slash: slash))
    case .blockSparse(let topK):
      let blocks = (grid.keys + BlockSparse.blockSize - 1) / BlockSparse.blockSize
      guard topK < blocks, !pooledQueries.isEmpty else { return .all }
      selection = .blocks(
        BlockSparse.selection(
          queries: pooledQueries, keys: pooledKeys, headDim: headDim,
          firstPosition: grid.firstPosition, topK: topK))
    case .dense, .aShape, .triShape, .dilated, .strided:
      return .all
    }
    return selection.rowSet(on: grid, columnsThatFillTile: columnsThatFillTile)
  }
}
