/// Rows of cells, padded so that columns line up: the first to the left, the others to the right.
struct AlignedColumns {
  let rows: [[String]]
  /// Characters of each column.
  let widths: [Int]

  /// - Parameter minimum: characters that every column has at least.
  init(_ rows: [[String]], minimum: Int = 0) {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      max(minimum, rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0)
    }
    self.widths = widths
    self.rows = rows.map { row in
      widths.enumerated().map { column, width in
        let cell = column < row.count ? row[column] : ""
        return column == 0
          ? Quantity.padRight(cell, to: width) : Quantity.padLeft(cell, to: width)
      }
    }
  }
}
