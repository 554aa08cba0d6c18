/// What attention computes in one (layer, chunk): the value between estimators and kernels.
///
/// Computed pairs (i, j) are the tiles of a head's row set united with its columns, restricted to
/// j <= i and to the model's own sliding window, each pair once. Tiles are supersets of what an
/// estimator asked for; within a tile there is no mask but causality and the window.
public struct SparseIndex: Sendable {
  /// Position of the chunk's first query row.
  public let firstPosition: Int
  /// Query rows in the chunk.
  public let rows: Int
  public let tile: TileShape
  /// The distinct row sets; none if the index is ``resident``.
  public let rowSets: [RowSet]
  /// For each query head, which row set it uses; empty if the index is ``resident``.
  public let rowSetOfHead: [Int]
  /// The index itself, where a device built it and keeps it; nil: it is here.
  public let resident: (any ResidentIndex)?
  /// Keys that attention computes, whatever the row sets say; nil: all. See ``restricted(toKeys:)``.
  public internal(set) var keyRange: Range<Int>?
  /// Whether the rows may lack their diagonal tiles, as a ``cutToKeyRange()`` leaves them.
  let isCut: Bool

  /// Whether this is a part of an index: rows may be left without keys.
  public var isPart: Bool { isCut || keyRange != nil }

  /// Keys that the chunk may see: all positions up to its last row.
  public var keys: Int { firstPosition + rows }

  /// The absolute tile rows that the chunk touches.
  public var tileRows: Range<Int> {
    firstPosition / tile.rows..<(keys + tile.rows - 1) / tile.rows
  }

  /// Throws ``ComputeError/shapeMismatch(operation:detail:)`` unless every row set has one entry
  /// for each tile row, ascending disjoint runs and columns in range, and its diagonal tiles.
  public init(
    firstPosition: Int, rows: Int, tile: TileShape, rowSets: [RowSet], rowSetOfHead: [Int]
  ) throws {
    self.firstPosition = firstPosition
    self.rows = rows
    self.tile = tile
    self.rowSets = rowSets
    self.rowSetOfHead = rowSetOfHead
    resident = nil
    isCut = false
    guard firstPosition >= 0, rows > 0 else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "\(rows) rows from position \(firstPosition)")
    }
    guard rowSetOfHead.allSatisfy(rowSets.indices.contains) else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "a head names a row set that is not there")
    }
    for rowSet in rowSets {
      if case .tiles(let tiles) = rowSet {
        try tiles.validate(tileRows: tileRows, tile: tile, keys: keys)
      }
    }
  }

  /// An index that a device built: only that device's attention kernel can read it.
  public init(firstPosition: Int, rows: Int, tile: TileShape, resident: any ResidentIndex) {
    self.firstPosition = firstPosition
    self.rows = rows
    self.tile = tile
    rowSets = []
    rowSetOfHead = []
    self.resident = resident
    isCut = false
  }

  /// Whether every head is known to compute every causal pair.
  public var isDense: Bool {
    resident == nil && keyRange == nil && rowSets.allSatisfy { $0 == .all }
  }

  /// Some of the pairs of an index that was checked; diagonal tiles may be missing.
  init(partOf whole: SparseIndex, rowSets: [RowSet]) {
    firstPosition = whole.firstPosition
    rows = whole.rows
    tile = whole.tile
    self.rowSets = rowSets
    rowSetOfHead = whole.rowSetOfHead
    resident = nil
    isCut = true
  }

  /// An index that was checked, on another grid of tiles.
  init(sameAs other: SparseIndex, on tile: TileShape, rowSets: [RowSet]) {
    firstPosition = other.firstPosition
    rows = other.rows
    self.tile = tile
    self.rowSets = rowSets
    rowSetOfHead = other.rowSetOfHead
    resident = nil
    keyRange = other.keyRange
    isCut = other.isCut
  }

  /// Dense causal attention for every head; takes no memory.
  public static func dense(
    firstPosition: Int, rows: Int, heads: Int, tile: TileShape
  ) throws -> SparseIndex {
    try SparseIndex(
      firstPosition: firstPosition, rows: rows, tile: tile, rowSets: [.all],
      rowSetOfHead: Array(repeating: 0, count: heads))
  }

  /// The row set of a query head.
  public func rowSet(ofHead head: Int) -> RowSet { rowSets[rowSetOfHead[head]] }
}

/// Which tiles and columns the rows of one head compute.
public enum RowSet: Sendable, Equatable {
  /// Every causal pair.
  case all
  case tiles(TileRuns)
}

/// Half-open range of key tiles.
public struct KeyTileRun: Sendable, Hashable {
  public var start: Int32
  public var end: Int32

  public init(start: Int32, end: Int32) {
    self.start = start
    self.end = end
  }
}

/// Runs of key tiles for each tile row (compressed rows), and columns common to all of them.
public struct TileRuns: Sendable, Equatable {
  /// The runs of the chunk's tile row t are runs[rowOffsets[t] ..< rowOffsets[t + 1]].
  public var rowOffsets: [Int32]
  /// Ascending within a row, disjoint, none empty; none beyond the tile row's last position.
  public var runs: [KeyTileRun]
  /// Single key columns (verticals), ascending, distinct. A column that a tile covers, or that
  /// lies after the query, is not computed again.
  public var columns: [Int32]

  public init(rowOffsets: [Int32], runs: [KeyTileRun], columns: [Int32]) {
    self.rowOffsets = rowOffsets
    self.runs = runs
    self.columns = columns
  }

  /// The runs of tile row `row` of the chunk (0 is the chunk's first).
  public func runs(ofRow row: Int) -> ArraySlice<KeyTileRun> {
    runs[Int(rowOffsets[row])..<Int(rowOffsets[row + 1])]
  }

  func validate(tileRows: Range<Int>, tile: TileShape, keys: Int) throws {
    func fail(_ detail: String) -> ComputeError {
      .shapeMismatch(operation: "SparseIndex", detail: detail)
    }
    guard rowOffsets.count == tileRows.count + 1, rowOffsets.first == 0,
      rowOffsets.last.map(Int.init) == runs.count
    else {
      throw fail("\(rowOffsets.count) row offsets for \(tileRows.count) tile rows")
    }
    for (row, tileRow) in tileRows.enumerated() {
      guard rowOffsets[row] <= rowOffsets[row + 1] else { throw fail("row offsets descend") }
      let end = min((tileRow + 1) * tile.rows, keys)
      let lastTile = (end - 1) / tile.columns
      var previousEnd: Int32 = 0
      for run in runs(ofRow: row) {
        guard run.start >= previousEnd, run.start < run.end, Int(run.end) <= lastTile + 1 else {
          throw fail(
            "run \(run.start)..<\(run.end) of tile row \(tileRow) is out of order or range")
        }
        previousEnd = run.end
      }
      // The diagonal tiles are the key tiles at the tile row's own positions.
      let firstDiagonal = tileRow * tile.rows / tile.columns
      guard let last = runs(ofRow: row).last, Int(last.start) <= firstDiagonal,
        Int(last.end) == lastTile + 1
      else {
        throw fail("tile row \(tileRow) lacks its diagonal tiles")
      }
    }
    var previous: Int32 = -1
    for column in columns {
      guard column > previous, Int(column) < keys else {
        throw fail("column \(column) is out of order or range")
      }
      previous = column
    }
  }
}
