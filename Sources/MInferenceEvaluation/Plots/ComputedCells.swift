public import Compute

/// Whether a head's row set computes what is brightest in each cell of an ``AttentionImage``.
///
/// The image shows the largest probability of a cell, so this is asked of the pair that has it, not of
/// the cell's area: a computed column stays visible, and a needle that is missed does not.
public struct ComputedCells: Sendable, Hashable {
  public let cells: Int
  /// Row by row; true above the diagonal, where there is nothing.
  public let isComputed: [Bool]

  /// - Parameter index: of one chunk that begins at position 0, with the image's keys.
  public init(_ image: AttentionImage, index: SparseIndex, head: Int) {
    cells = image.cells
    isComputed = image.brightest.map { pair in
      guard let pair else { return true }
      return index.computes(query: Int(pair.query), key: Int(pair.key), head: head)
    }
  }
}

extension SparseIndex {
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
