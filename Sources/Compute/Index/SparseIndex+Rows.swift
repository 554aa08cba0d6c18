extension SparseIndex {
  /// The index of some of the rows alone: a small value, for a kernel that is to compute no others.
  ///
  /// Heads outside `heads` get their diagonal tiles and nothing else, the least that an index holds;
  /// what a kernel computes for them is of no use.
  ///
  /// - Parameter positions: not empty, inside the index.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)``.
  package func part(positions: Range<Int>, heads: Set<Int>) throws -> SparseIndex {
    guard !positions.isEmpty, positions.lowerBound >= firstPosition, positions.upperBound <= keys
    else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "rows \(positions) of \(firstPosition)..<\(keys)")
    }
    // The device's kernel picks the rows of its own index; all heads are as cheap as some.
    if resident != nil { return self }
    let wanted = Set(rowSetOfHead.indices.filter(heads.contains).map { rowSetOfHead[$0] }).sorted()
    let places = Dictionary(uniqueKeysWithValues: wanted.enumerated().map { ($1, $0) })
    return try SparseIndex(
      firstPosition: positions.lowerBound, rows: positions.count, tile: tile,
      rowSets: wanted.map { part(rowSets[$0], positions: positions) }
        + [part(nil, positions: positions)],
      rowSetOfHead: rowSetOfHead.enumerated().map { head, rowSet in
        heads.contains(head) ? places[rowSet] ?? wanted.count : wanted.count
      })
  }

  /// For each query head, whether it is known to compute every causal pair.
  package func denseHeads() throws -> [Bool] {
    if let resident { return try resident.isDense() }
    return rowSetOfHead.map { rowSets[$0] == .all }
  }

  /// The same index with every causal pair for some heads.
  package func replacingByAll(heads: Set<Int>) throws -> SparseIndex {
    if let resident {
      return SparseIndex(
        firstPosition: firstPosition, rows: rows, tile: tile,
        resident: try resident.makingDense(heads))
    }
    var kept: [RowSet] = [.all]
    var places: [Int: Int] = [:]
    let rowSetOfHead = rowSetOfHead.enumerated().map { head, rowSet in
      if heads.contains(head) || rowSets[rowSet] == .all { return 0 }
      if let place = places[rowSet] { return place }
      places[rowSet] = kept.count
      kept.append(rowSets[rowSet])
      return kept.count - 1
    }
    return try SparseIndex(
      firstPosition: firstPosition, rows: rows, tile: tile, rowSets: kept,
      rowSetOfHead: rowSetOfHead)
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
