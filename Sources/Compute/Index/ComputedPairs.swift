/// Counts of (query, key) pairs: what density and cost are made of.
extension SparseIndex {
  /// Pairs (i, j), j <= i, for rows firstPosition ..< firstPosition + rows.
  public static func causalPairs(
    firstPosition: Int, rows: Int, slidingWindow: Int? = nil
  ) -> Int {
    guard let window = slidingWindow else {
      return rows * firstPosition + rows * (rows + 1) / 2
    }
    // Rows before `window` see position + 1 keys, later ones exactly `window`.
    let end = firstPosition + rows
    let ramp = firstPosition..<max(firstPosition, min(end, window))
    let rampPairs = ramp.count * (ramp.lowerBound + ramp.upperBound + 1) / 2
    return rampPairs + (rows - ramp.count) * window
  }
}

extension TileIndex {
  /// Causal pairs of the chunk's rows (within the window, if the model has one), for one head.
  public func causalPairs(slidingWindow: Int? = nil) -> Int {
    grid(slidingWindow: slidingWindow).causalPairs
  }

  /// Pairs that attention computes for `head` of an index that is not a part; diagonal tiles count by
  /// their unmasked pairs.
  ///
  /// O(runs * log columns + tile rows * tile.rows).
  public func computedPairs(ofHead head: Int, slidingWindow: Int? = nil) -> Int {
    switch rowSet(ofHead: head) {
    case .all: causalPairs(slidingWindow: slidingWindow)
    case .tiles(let tiles): grid(slidingWindow: slidingWindow).pairs(of: tiles).total
    }
  }
}

/// The pairs of one row set, by how they are computed.
public struct PairCounts: Sendable, Hashable {
  /// Causal pairs in tiles.
  public var tilePairs: Int
  /// Causal pairs of single columns that no tile covers.
  public var columnPairs: Int

  public var total: Int { tilePairs + columnPairs }
}

extension TileGrid {
  /// Causal pairs of the chunk's rows (within the window).
  public var causalPairs: Int {
    SparseIndex.causalPairs(
      firstPosition: firstPosition, rows: rows, slidingWindow: slidingWindow)
  }

  /// The pairs that a row set computes, each once.
  public func pairs(of tiles: TileRuns) -> PairCounts {
    var counts = PairCounts(tilePairs: 0, columnPairs: 0)
    for (row, tileRow) in tileRows.enumerated() {
      let positions = positions(ofTileRow: tileRow)
      let firstKey = slidingWindow.map { max(0, positions.lowerBound - $0 + 1) } ?? 0
      // The diagonal tiles end every row, so no uncovered column lies after a run.
      var column = tiles.columns.partitioningIndex { Int($0) >= firstKey }
      for run in tiles.runs(ofRow: row) {
        let start = Int(run.start) * tile.columns
        let stop = Int(run.end) * tile.columns
        counts.tilePairs += pairs(rows: positions, keys: start..<stop)
        let rest = tiles.columns[column...]
        let covered = rest.partitioningIndex { Int($0) >= start }
        counts.columnPairs += pairs(rows: positions, columns: rest[..<covered])
        column = rest.partitioningIndex { Int($0) >= stop }
      }
    }
    return counts
  }

  /// Pairs of single columns, ascending, all before the first of the rows.
  private func pairs(rows: Range<Int>, columns: ArraySlice<Int32>) -> Int {
    guard let slidingWindow else { return rows.count * columns.count }
    let full = columns.partitioningIndex { Int($0) + slidingWindow >= rows.upperBound }
    return columns[..<full].reduce(rows.count * (columns.endIndex - full)) { sum, column in
      sum + max(0, min(rows.upperBound, Int(column) + slidingWindow) - rows.lowerBound)
    }
  }

  /// Causal pairs of a rectangle.
  private func pairs(rows: Range<Int>, keys: Range<Int>) -> Int {
    if keys.upperBound <= rows.lowerBound + 1,
      slidingWindow.map({ keys.lowerBound > rows.upperBound - 1 - $0 }) ?? true
    {
      return rows.count * keys.count
    }
    return rows.reduce(0) { sum, position in
      let low = max(keys.lowerBound, slidingWindow.map { position - $0 + 1 } ?? 0)
      return sum + max(0, min(keys.upperBound, position + 1) - low)
    }
  }
}

extension RandomAccessCollection {
  /// The first index whose element satisfies `belongsInSecond`, which must be monotone.
  package func partitioningIndex(where belongsInSecond: (Element) -> Bool) -> Index {
    var low = startIndex
    var count = self.count
    while count > 0 {
      let half = count / 2
      let middle = index(low, offsetBy: half)
      if belongsInSecond(self[middle]) {
        count = half
      } else {
        low = index(after: middle)
        count -= half + 1
      }
    }
    return low
  }
}
