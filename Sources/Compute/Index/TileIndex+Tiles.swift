extension TileIndex {
  /// The same pairs on a finer grid of tiles, for a kernel that computes in those.
  ///
  /// - Parameter tile: Its extents divide this index's.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for other extents.
  package func onTiles(_ tile: TileShape) throws -> TileIndex {
    if tile == self.tile { return self }
    guard self.tile.rows % tile.rows == 0, self.tile.columns % tile.columns == 0
    else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex",
        detail: "tiles of \(self.tile.rows) x \(self.tile.columns) are not made of tiles of "
          + "\(tile.rows) x \(tile.columns)")
    }
    return same(on: tile, rowSets: rowSets.map { onTiles(tile, $0) })
  }

  private func onTiles(_ tile: TileShape, _ rowSet: RowSet) -> RowSet {
    guard case .tiles(let tiles) = rowSet else { return .all }
    let fine = firstPosition / tile.rows..<(keys + tile.rows - 1) / tile.rows
    let across = self.tile.columns / tile.columns
    var builder = TileRunsBuilder(tileRows: fine.count)
    for tileRow in fine {
      let coarse = tileRow * tile.rows / self.tile.rows - tileRows.lowerBound
      // What lies beyond the fine row's last position has no pairs.
      let end = (min((tileRow + 1) * tile.rows, keys) + tile.columns - 1) / tile.columns
      for run in tiles.runs(ofRow: coarse) {
        builder.add((Int(run.start) * across..<Int(run.end) * across).clipped(to: 0..<end))
      }
      builder.endRow()
    }
    return .tiles(builder.tileRuns(columns: tiles.columns))
  }
}
