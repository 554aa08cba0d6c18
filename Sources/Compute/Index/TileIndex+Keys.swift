extension TileIndex {
  /// Throws ``ComputeError/shapeMismatch(operation:detail:)`` unless keys of an index of so many lie at tiles.
  static func require(_ keys: Range<Int>, of count: Int, tile: TileShape) throws {
    guard !keys.isEmpty, keys.lowerBound >= 0, keys.lowerBound % tile.columns == 0,
      keys.upperBound == count
        || keys.upperBound < count && keys.upperBound % tile.columns == 0
    else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex",
        detail: "keys \(keys) of \(count) do not lie at tiles of \(tile.columns)")
    }
  }

  /// The pairs of this index whose keys lie in `keys`: a part of attention, to be joined with others
  /// by ``Backend/mergeAttention(_:logSumExp:into:logSumExp:)``. Rows may be left without keys.
  ///
  /// - Parameter keys: Begins at a tile boundary, and ends at one or at the index's last key.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for other ranges.
  public func restricted(toKeys keys: Range<Int>) throws -> TileIndex {
    try Self.require(keys, of: self.keys, tile: tile)
    let tiles =
      keys.lowerBound / tile.columns..<(keys.upperBound + tile.columns - 1) / tile.columns
    return part(rowSets: rowSets.map { restricted($0, tiles: tiles, keys: keys) })
  }

  private func restricted(_ rowSet: RowSet, tiles: Range<Int>, keys: Range<Int>) -> RowSet {
    var builder = TileRunsBuilder(tileRows: tileRows.count)
    var columns: [Int32] = []
    for (row, tileRow) in tileRows.enumerated() {
      let end = min((tileRow + 1) * tile.rows, self.keys)
      let causal = 0..<(end + tile.columns - 1) / tile.columns
      switch rowSet {
      case .all: builder.add(causal.clipped(to: tiles))
      case .tiles(let runs):
        for run in runs.runs(ofRow: row) {
          builder.add((Int(run.start)..<Int(run.end)).clipped(to: tiles))
        }
      }
      builder.endRow()
    }
    if case .tiles(let runs) = rowSet {
      columns = runs.columns.filter { keys.contains(Int($0)) }
    }
    return .tiles(builder.tileRuns(columns: columns))
  }
}
