import MInference

/// One head's attention on a square of cells, max-pooled, so that a single key's column stays visible
/// at any length.
public struct AttentionImage: Sendable, Hashable {
  private let grid: CellGrid
  /// Keys of the prompt, and as many query positions.
  public var keys: Int { grid.keys }
  /// Cells on a side.
  public var cells: Int { grid.cells }
  /// The largest probability in each cell, row by row (queries downwards); 0 where none was added.
  public private(set) var maxima: [Float]
  /// The pair of that probability; nil where none was added.
  public private(set) var brightest: [Pair?]

  /// A query and a key.
  public struct Pair: Sendable, Hashable {
    public var query: Int32
    public var key: Int32
  }

  /// An image of at most `cells` by `cells`; no cell is smaller than a key.
  public init(keys: Int, cells: Int) {
    grid = CellGrid(keys: keys, cells: cells)
    maxima = Array(repeating: 0, count: grid.cells * grid.cells)
    brightest = Array(repeating: nil, count: grid.cells * grid.cells)
  }

  /// Query rows to sample: `perCell` of each cell row, including its last, and the last 64 rows of the prompt.
  /// All rows of a short prompt.
  public static func sampledRows(keys: Int, cells: Int, perCell: Int = 8) -> [Int] {
    CellGrid(keys: keys, cells: cells).sampledRows(perCell: perCell)
  }

  /// Adds the attention of one query.
  ///
  /// - Parameters:
  ///   - scores: scaled scores of keys 0 ... position, before the softmax; -infinity for
  ///     keys that the query does not see.
  ///   - sink: the head's attention sink, which the softmax is over too; nil: there is none.
  public mutating func add(
    position: Int, scores: UnsafeBufferPointer<Float>, sink: Float? = nil
  ) {
    let seen = UnsafeBufferPointer(rebasing: scores[...min(position, scores.count - 1)])
    let largest = max(seen.max() ?? 0, sink ?? -.infinity)
    var sum = sink.map { roughExponential($0 - largest) } ?? 0
    for score in seen { sum += roughExponential(score - largest) }
    guard sum > 0 else { return }
    let row = grid.cell(of: position) * cells
    for column in 0...grid.cell(of: position) {
      let keys = grid.positions(ofCell: column).clamped(to: 0..<seen.count)
      guard var best = keys.first else { continue }
      for key in keys where seen[key] > seen[best] { best = key }
      let probability = roughExponential(seen[best] - largest) / sum
      if probability > maxima[row + column] {
        maxima[row + column] = probability
        brightest[row + column] = Pair(query: Int32(position), key: Int32(best))
      }
    }
  }
}
