extension SparseIndex {
  /// The pairs of this index whose keys lie in `keys`: a part of attention, to be joined with others
  /// by ``Backend/mergeAttention(_:logSumExp:into:logSumExp:)``. Rows may be left without keys.
  ///
  /// The row sets stay as they are, also where a device keeps them: kernels pass over other keys.
  ///
  /// - Parameter keys: Begins at a tile boundary, and ends at one or at the index's last key; not empty.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for other ranges.
  public func restricted(toKeys keys: Range<Int>) throws -> SparseIndex {
    guard !keys.isEmpty, keys.lowerBound >= 0, keys.lowerBound % tile.columns == 0,
      keys.upperBound == self.keys
        || keys.upperBound < self.keys && keys.upperBound % tile.columns == 0
    else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex",
        detail: "keys \(keys) of \(self.keys) do not lie at tiles of \(tile.columns)")
    }
    var part = self
    let whole = keyRange ?? 0..<self.keys
    part.keyRange =
      max(
        keys.lowerBound, whole.lowerBound)..<max(
        keys.lowerBound, whole.lowerBound, min(keys.upperBound, whole.upperBound))
    return part
  }

  /// The same pairs with the row sets cut to ``keyRange``, for a kernel that does not look at it.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for an index that a device keeps.
  package func cutToKeyRange() throws -> SparseIndex {
    guard let keyRange else { return self }
    try require(resident == nil, "SparseIndex", "the keys of a device's index cannot be cut")
    let tiles =
      keyRange.lowerBound / tile.columns..<(keyRange.upperBound + tile.columns - 1) / tile.columns
    return SparseIndex(
      partOf: self, rowSets: rowSets.map { restricted($0, tiles: tiles, keys: keyRange) })
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
