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
    let held = sink.map { roughExponential($0 - largest) } ?? 0
    var total = held
    for score in scores { total += roughExponential(score - largest) }
    var kept = held
    forEachComputedRange(query: query, head: head) { keys in
      for score in scores[keys] { kept += roughExponential(score - largest) }
    }
    return Double(min(1, kept / total))
  }
}
