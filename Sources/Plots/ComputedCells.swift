public import MInference

/// Whether a head's row set computes what is brightest in each cell of an ``AttentionImage``.
///
/// The image shows the largest probability of a cell, so the pair of that probability decides, not the cell's
/// area: a computed column stays visible, and a missed needle does not. In cells without any probability the
/// pair in the middle decides.
public struct ComputedCells: Sendable, Hashable {
  public let cells: Int
  /// Row by row; true above the diagonal, where there is nothing.
  public let isComputed: [Bool]

  /// - Parameter index: of one chunk that begins at position 0, with the image's keys.
  public init(_ image: AttentionImage, index: TileIndex, head: Int) {
    cells = image.cells
    isComputed = image.brightest.enumerated().map { cell, pair in
      if let pair {
        return index.computes(query: Int(pair.query), key: Int(pair.key), head: head)
      }
      let (row, column) = (cell / image.cells, cell % image.cells)
      guard column <= row else { return true }
      func middle(_ cell: Int) -> Int { (2 * cell + 1) * image.keys / (2 * image.cells) }
      return index.computes(query: middle(row), key: middle(column), head: head)
    }
  }
}

extension TileIndex {
  /// Whether the pair (query, key), key <= query, of the chunk is computed for a head. O(log runs).
  func computes(query: Int, key: Int, head: Int) -> Bool {
    guard case .tiles(let tiles) = rowSet(ofHead: head) else { return true }
    let runs = tiles.runs(ofRow: query / tile.rows - tileRows.lowerBound)
    let run = runs.partitioningIndex { Int($0.end) * tile.columns > key }
    if run < runs.endIndex, Int(runs[run].start) * tile.columns <= key { return true }
    let column = tiles.columns.partitioningIndex { Int($0) >= key }
    return column < tiles.columns.endIndex && Int(tiles.columns[column]) == key
  }
}

extension TileIndex {
  /// The keys that a query computes for a head, as ascending ranges.
  func forEachComputedRange(query: Int, head: Int, _ body: (Range<Int>) -> Void) {
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

  /// The share of a query's softmax that lies on the pairs computed for a head.
  ///
  /// - Parameters:
  ///   - scores: of keys 0 ... query.
  ///   - sink: the head's attention sink, which is never missed; nil: there is none.
  package func recall(
    query: Int, head: Int, scores: UnsafeBufferPointer<Float>, sink: Float? = nil
  ) -> Double {
    let largest = max(scores.max() ?? 0, sink ?? -.infinity)
    guard rowSet(ofHead: head) != .all, largest.isFinite else { return 1 }
    let held = sink.map { AttentionImage.exponential($0 - largest) } ?? 0
    var total = held
    for score in scores { total += AttentionImage.exponential(score - largest) }
    var kept = held
    forEachComputedRange(query: query, head: head) { keys in
      for score in scores[keys] { kept += AttentionImage.exponential(score - largest) }
    }
    return Double(min(1, kept / total))
  }
}
