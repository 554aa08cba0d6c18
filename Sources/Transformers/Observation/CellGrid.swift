/// A square grid of cells over the pairs of a prompt: query positions downwards, keys to the right.
package struct CellGrid: Sendable, Hashable {
  /// Keys of the prompt, and as many query positions.
  package let keys: Int
  /// Cells on a side; no cell is smaller than a key.
  package let cells: Int

  package init(keys: Int, cells: Int) {
    precondition(keys > 0 && cells > 0)
    self.keys = keys
    self.cells = min(cells, keys)
  }

  /// The positions of a cell.
  package func positions(ofCell cell: Int) -> Range<Int> {
    (cell * keys + cells - 1) / cells..<((cell + 1) * keys + cells - 1) / cells
  }

  /// The cell of a position.
  package func cell(of position: Int) -> Int { position * cells / keys }

  /// Query rows to sample: `perCell` of each cell row, including its last, and the last 64 rows of the prompt.
  /// All rows of a short prompt.
  package func sampledRows(perCell: Int) -> [Int] {
    var rows: Set<Int> = []
    for cell in 0..<cells {
      let positions = positions(ofCell: cell)
      let count = min(perCell, positions.count)
      for number in 0..<count {
        rows.insert(positions.upperBound - 1 - number * positions.count / count)
      }
    }
    return rows.union(max(0, keys - 64)..<keys).sorted()
  }
}

/// exp for arguments up to 0, to 1 %: 2^x from the bits of a float and a parabola. For pictures: a hundred
/// times faster in Swift than a library call for each pair.
@inlinable
package func roughExponential(_ x: Float) -> Float {
  let power = x * 1.442_695
  guard power > -126 else { return 0 }
  let whole = power.rounded(.down)
  let rest = power - whole
  let fraction = 1 + rest * (0.656_366 + rest * 0.343_634)
  return Float(bitPattern: UInt32(Int32(whole) + 127) << 23) * fraction
}
