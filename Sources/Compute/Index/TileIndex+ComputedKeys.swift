extension TileIndex {
  /// The keys that a query computes for a head, as ascending ranges. The model's own window is not looked at.
  package func forEachComputedRange(query: Int, head: Int, _ body: (Range<Int>) -> Void) {
    guard case .tiles(let tiles) = rowSet(ofHead: head) else {
      body(0..<query + 1)
      return
    }
    var column = 0
    func columns(before key: Int) {
      while column < tiles.columns.count, Int(tiles.columns[column]) < key {
        body(Int(tiles.columns[column])..<Int(tiles.columns[column]) + 1)
        column += 1
      }
    }
    for run in tiles.runs(ofRow: query / tile.rows - tileRows.lowerBound) {
      let keys = Int(run.start) * tile.columns..<min(Int(run.end) * tile.columns, query + 1)
      guard keys.lowerBound <= query else { break }
      columns(before: keys.lowerBound)
      body(keys)
      while column < tiles.columns.count, Int(tiles.columns[column]) < keys.upperBound {
        column += 1
      }
    }
    columns(before: query + 1)
  }
}
