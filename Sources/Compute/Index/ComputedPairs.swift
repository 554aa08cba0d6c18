/// Counts of (query, key) pairs: what density and cost are made of.
extension SparseIndex {
  /// Causal pairs of the chunk's rows (within the window, if the model has one), for one head.
  public func causalPairs(slidingWindow: Int? = nil) -> Int {
    Self.causalPairs(firstPosition: firstPosition, rows: rows, slidingWindow: slidingWindow)
  }

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

  /// Pairs that attention computes for `head`; diagonal tiles count by their unmasked pairs.
  ///
  /// O(runs + tile rows * columns).
  public func computedPairs(ofHead head: Int, slidingWindow: Int? = nil) -> Int {
    switch rowSet(ofHead: head) {
    case .all: causalPairs(slidingWindow: slidingWindow)
    case .tiles(let tiles): computedPairs(tiles, slidingWindow: slidingWindow)
    }
  }

  private func computedPairs(_ tiles: TileRuns, slidingWindow: Int?) -> Int {
    var pairs = 0
    for (row, tileRow) in tileRows.enumerated() {
      let first = max(tileRow * tile.rows, firstPosition)
      let end = min((tileRow + 1) * tile.rows, keys)
      let firstKey = slidingWindow.map { max(0, first - $0 + 1) } ?? 0
      var column = tiles.columns.partitioningIndex { Int($0) >= firstKey }
      for run in tiles.runs(ofRow: row) {
        let start = Int(run.start) * tile.columns
        let stop = Int(run.end) * tile.columns
        while column < tiles.columns.count, Int(tiles.columns[column]) < start {
          pairs += Self.pairs(
            rows: first..<end, keys: Int(tiles.columns[column])..<Int(tiles.columns[column]) + 1,
            slidingWindow: slidingWindow)
          column += 1
        }
        pairs += Self.pairs(rows: first..<end, keys: start..<stop, slidingWindow: slidingWindow)
        while column < tiles.columns.count, Int(tiles.columns[column]) < stop { column += 1 }
      }
    }
    return pairs
  }

  /// Causal pairs of a rectangle.
  static func pairs(rows: Range<Int>, keys: Range<Int>, slidingWindow: Int?) -> Int {
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
