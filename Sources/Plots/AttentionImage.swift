/// One head's attention on a square of cells, max-pooled, so that a single key's column stays visible
/// at any length.
public struct AttentionImage: Sendable, Hashable {
  /// Keys of the prompt, and as many query positions.
  public let keys: Int
  /// Cells on a side.
  public let cells: Int
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
    precondition(keys > 0 && cells > 0)
    self.keys = keys
    self.cells = min(cells, keys)
    maxima = Array(repeating: 0, count: self.cells * self.cells)
    brightest = Array(repeating: nil, count: self.cells * self.cells)
  }

  /// The positions of a cell.
  func positions(ofCell cell: Int) -> Range<Int> {
    (cell * keys + cells - 1) / cells..<((cell + 1) * keys + cells - 1) / cells
  }

  /// The cell of a position.
  func cell(of position: Int) -> Int { position * cells / keys }

  /// Query rows to sample: `perCell` of each cell row, including its last, and the last 64 rows of the prompt.
  /// All rows of a short prompt.
  public static func sampledRows(keys: Int, cells: Int, perCell: Int = 8) -> [Int] {
    let image = AttentionImage(keys: keys, cells: cells)
    var rows: Set<Int> = []
    for cell in 0..<image.cells {
      let positions = image.positions(ofCell: cell)
      let count = min(perCell, positions.count)
      for number in 0..<count {
        rows.insert(positions.upperBound - 1 - number * positions.count / count)
      }
    }
    return rows.union(max(0, keys - 64)..<keys).sorted()
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
    var sum = sink.map { Self.exponential($0 - largest) } ?? 0
    for score in seen { sum += Self.exponential(score - largest) }
    guard sum > 0 else { return }
    let row = cell(of: position) * cells
    for column in 0...cell(of: position) {
      let keys = positions(ofCell: column).clamped(to: 0..<seen.count)
      guard var best = keys.first else { continue }
      for key in keys where seen[key] > seen[best] { best = key }
      let probability = Self.exponential(seen[best] - largest) / sum
      if probability > maxima[row + column] {
        maxima[row + column] = probability
        brightest[row + column] = Pair(query: Int32(position), key: Int32(best))
      }
    }
  }

  /// exp for arguments up to 0, to 1 % (less than a shade): 2^x from the bits of a float and a parabola. A
  /// hundred times faster in Swift than a library call for each pair.
  static func exponential(_ x: Float) -> Float {
    let power = x * 1.442_695
    guard power > -126 else { return 0 }
    let whole = power.rounded(.down)
    let rest = power - whole
    let fraction = 1 + rest * (0.656_366 + rest * 0.343_634)
    return Float(bitPattern: UInt32(Int32(whole) + 127) << 23) * fraction
  }
}
