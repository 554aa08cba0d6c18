import MInference

/// The forms of sparse indices with which attention kernels are verified.
enum IndexPattern: String, CaseIterable {
  case dense
  case aShape = "A-shape"
  case triShape = "tri-shape"
  case verticalSlash = "vertical-slash"
  case blockSparse = "block-sparse"
  /// Only the tiles that every index must have.
  case diagonal
  /// Heads that differ: one of each kind, in turn.
  case mixed

  /// A random index of this form; heads have row sets of their own, and the last shares the first's.
  func makeIndex(
    first: Int, rows: Int, heads: Int, tile: TileShape, random: inout SeededGenerator
  ) throws -> SparseIndex {
    var sets: [RowSet] = []
    for head in 0..<max(1, heads - 1) {
      var pattern = self
      if self == .mixed {
        let others = Self.allCases.filter { $0 != .mixed }
        pattern = others[head % others.count]
      }
      sets.append(pattern.rowSet(first: first, rows: rows, tile: tile, random: &random))
    }
    return .tiles(
      try TileIndex(
        firstPosition: first, rows: rows, tile: tile, rowSets: sets,
        rowSetOfHead: (0..<heads).map { $0 % sets.count }))
  }

  private func rowSet(
    first: Int, rows: Int, tile: TileShape, random: inout SeededGenerator
  ) -> RowSet {
    if self == .dense { return .all }
    let keys = first + rows
    let offsets = (0..<3).map { _ in random.next(below: keys) }
    var columns: [Int32] = []
    if self == .verticalSlash {
      columns = (0..<Int32(keys)).filter { _ in random.next(below: 9) == 0 }
    }
    var rowOffsets: [Int32] = [0]
    var runs: [KeyTileRun] = []
    for tileRow in first / tile.rows..<(keys + tile.rows - 1) / tile.rows {
      let begin = tileRow * tile.rows
      let end = min(begin + tile.rows, keys)
      let lastTile = (end - 1) / tile.columns
      let isWanted = (0...lastTile).map { keyTile in
        let start = keyTile * tile.columns
        let isDiagonal = start + tile.columns > begin
        switch self {
        case .aShape: return isDiagonal || keyTile == 0 || start + tile.columns > begin - 20
        case .triShape: return isDiagonal || keyTile == 0 || end == keys
        case .blockSparse: return isDiagonal || random.next(below: 3) == 0
        case .verticalSlash:
          return isDiagonal
            || offsets.contains { begin - $0 < start + tile.columns && end - $0 > start }
        case .dense, .diagonal, .mixed: return isDiagonal
        }
      }
      runs += Self.runs(of: isWanted)
      rowOffsets.append(Int32(runs.count))
    }
    return .tiles(TileRuns(rowOffsets: rowOffsets, runs: runs, columns: columns))
  }

  private static func runs(of isWanted: [Bool]) -> [KeyTileRun] {
    var runs: [KeyTileRun] = []
    for (tile, wanted) in isWanted.enumerated() where wanted {
      if let last = runs.last, Int(last.end) == tile {
        runs[runs.count - 1].end += 1
      } else {
        runs.append(KeyTileRun(start: Int32(tile), end: Int32(tile + 1)))
      }
    }
    return runs
  }
}
