extension TileIndex {
  /// The index of some of the rows alone: a small value, for a kernel that is to compute no others.
  ///
  /// Heads outside `heads` get their diagonal tiles alone, the minimum of an index; the kernel's output for them
  /// is not meant to be read.
  ///
  /// - Parameter positions: not empty, inside the index.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)``.
  package func part(positions: Range<Int>, heads: Set<Int>) throws -> TileIndex {
    try grid().require(positions)
    let wanted = Set(rowSetOfHead.indices.filter(heads.contains).map { rowSetOfHead[$0] }).sorted()
    let numbers = Dictionary(uniqueKeysWithValues: wanted.enumerated().map { ($1, $0) })
    return try TileIndex(
      firstPosition: positions.lowerBound, rows: positions.count, tile: tile,
      rowSets: wanted.map { part(rowSets[$0], positions: positions) }
        + [part(nil, positions: positions)],
      rowSetOfHead: rowSetOfHead.enumerated().map { head, rowSet in
        heads.contains(head) ? numbers[rowSet] ?? wanted.count : wanted.count
      })
  }

  /// - Parameter rowSet: nil: the diagonal tiles alone.
  private func part(_ rowSet: RowSet?, positions: Range<Int>) -> RowSet {
    if rowSet == .all { return .all }
    var part = TileRuns(rowOffsets: [0], runs: [], columns: [])
    let tileRows =
      positions.lowerBound / tile.rows..<(positions.upperBound + tile.rows - 1) / tile.rows
    for tileRow in tileRows {
      let last = (min((tileRow + 1) * tile.rows, positions.upperBound) - 1) / tile.columns
      let end = Int32(last + 1)
      switch rowSet {
      case .tiles(let tiles):
        for run in tiles.runs(ofRow: tileRow - self.tileRows.lowerBound) where run.start < end {
          part.runs.append(KeyTileRun(start: run.start, end: min(run.end, end)))
        }
      case .all, nil:
        part.runs.append(
          KeyTileRun(start: Int32(tileRow * tile.rows / tile.columns), end: end))
      }
      part.rowOffsets.append(Int32(part.runs.count))
    }
    if case .tiles(let tiles) = rowSet {
      let before = tiles.columns.partitioningIndex { Int($0) >= positions.upperBound }
      part.columns = Array(tiles.columns[..<before])
    }
    return .tiles(part)
  }
}
