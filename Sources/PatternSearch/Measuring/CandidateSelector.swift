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

  /// - Throws: What a selector throws that needs more than the last rows' sums and means.
  init(
    patterns: [HeadPattern], grid: TileGrid, headDim: Int, columnsThatFillTile: Int,
    denseBelow: Int
  ) throws {
    isDense = grid.rows < VerticalSlashRule.lastRows || grid.keys < denseBelow
    self.grid = grid
    self.headDim = headDim
    self.columnsThatFillTile = columnsThatFillTile
    var fixed: [HeadPattern: RowSet] = [:]
    let sketch = HeadSketch(
      layer: 0, head: 0, firstPosition: grid.firstPosition, rows: grid.rows, headDim: headDim,
      memory: SelectionMemory())
    for pattern in patterns where !isDense && pattern.needs == .nothing {
      fixed[pattern] = try pattern.selector.select(sketch).pairs
        .rowSet(on: grid, columnsThatFillTile: columnsThatFillTile)
    }
    self.fixed = fixed
  }

  /// The row set of a pattern for one head.
  ///
  /// - pooledQueries, pooledKeys: the head's means, [blocks * headDim].
  /// - hasSink: as of ``SparseAttention/HeadSketch``.
  func rowSet(
    _ pattern: HeadPattern, sums: LastRowSums, pooledQueries: [Float], pooledKeys: [Float],
    blockShares: HeadBlockShares? = nil, hasSink: Bool = false
  ) throws -> RowSet {
    if isDense { return .all }
    if let rowSet = fixed[pattern] { return rowSet }
    var sketch = HeadSketch(
      layer: 0, head: 0, firstPosition: grid.firstPosition, rows: grid.rows, headDim: headDim,
      lastRowSums: sums, pooledQueries: pooledQueries, pooledKeys: pooledKeys,
      blockShares: blockShares, memory: SelectionMemory())
    sketch.hasSink = hasSink
    return try pattern.selector.select(sketch).pairs
      .rowSet(on: grid, columnsThatFillTile: columnsThatFillTile)
  }
}
