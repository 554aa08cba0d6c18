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
