/// What the elements of a stored matrix of float8 are multiplied with: a factor for each block of it.
public struct StoredScales: Sendable, Hashable {
  /// One for each block, row-major.
  public let values: [Float]
  /// Elements of a block; blocks at the edges of the matrix may be cut off.
  public let rows: Int
  public let columns: Int

  public init(values: [Float], rows: Int, columns: Int) {
    self.values = values
    self.rows = rows
    self.columns = columns
  }

  /// Whether there is a factor for each block of a matrix of this shape.
  func suit(_ shape: [Int]) -> Bool {
    shape.count == 2 && rows > 0 && columns > 0
      && values.count == (shape[0] + rows - 1) / rows * ((shape[1] + columns - 1) / columns)
  }
}

/// The same where a backend holds them.
public struct BlockScales: Sendable {
  /// [blocks of rows, blocks of columns] float32.
  public let values: Tensor
  public let rows: Int
  public let columns: Int
  /// The row of the whole matrix that a weight's first row is.
  public let firstRow: Int

  public init(values: Tensor, rows: Int, columns: Int, firstRow: Int = 0) {
    self.values = values
    self.rows = rows
    self.columns = columns
    self.firstRow = firstRow
  }

  func slice(rows range: Range<Int>) -> BlockScales {
    BlockScales(
      values: values, rows: rows, columns: columns, firstRow: firstRow + range.lowerBound)
  }
}
