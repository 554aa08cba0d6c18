import Compute

/// What sampled queries of one head attend to, summed over the cells of a grid: the mass, the part of it that
/// lies on computed pairs, and the share of pairs that are computed.
///
/// Memory: four numbers a cell.
struct AttentionMass: Sendable {
  let grid: CellGrid
  /// Rows added to each cell row.
  private var rows: [Int]
  /// Row by row, a number for each cell.
  private var mass: [Double]
  private var keptMass: [Double]
  private var seenPairs: [Int]
  private var computedPairs: [Int]
  /// Of each cell row, the mass on the attention sink.
  private var sinkMass: [Double]

  init(_ grid: CellGrid) {
    self.grid = grid
    rows = Array(repeating: 0, count: grid.cells)
    sinkMass = Array(repeating: 0, count: grid.cells)
    mass = Array(repeating: 0, count: grid.cells * grid.cells)
    keptMass = mass
    seenPairs = Array(repeating: 0, count: grid.cells * grid.cells)
    computedPairs = seenPairs
  }

  /// Adds one query.
  ///
  /// - Parameters:
  ///   - position: The query's.
  ///   - firstKey: The first key that it sees.
  ///   - scores: Scaled scores of keys 0 ... position, before the softmax; overwritten.
  ///   - sink: The head's attention sink, which the softmax is over too; nil: there is none.
  ///   - index: Of the chunk with the query.
  /// - Returns: false for scores of which no softmax can be made; nothing is added then.
  mutating func add(
    position: Int, firstKey: Int, scores: UnsafeMutableBufferPointer<Float>, sink: Float?,
    index: TileIndex, head: Int
  ) -> Bool {
    let keys = firstKey..<position + 1
    var largest = sink ?? -.infinity
    for key in keys { largest = max(largest, scores[key]) }
    guard largest.isFinite else { return false }
    let held = sink.map { Double(roughExponential($0 - largest)) } ?? 0
    let cellRow = grid.cell(of: position)
    let base = cellRow * grid.cells
    let columns = grid.cell(of: keys.lowerBound)...cellRow
    var sums = [Double](repeating: 0, count: columns.count)
    for column in columns {
      sums[column - columns.lowerBound] = Self.exponentials(
        of: scores, keys: grid.positions(ofCell: column).clamped(to: keys), largest: largest)
    }
    let total = sums.reduce(held, +)
    guard total > 0, total.isFinite else { return false }
    rows[cellRow] += 1
    sinkMass[cellRow] += held / total
    for column in columns {
      mass[base + column] += sums[column - columns.lowerBound] / total
      seenPairs[base + column] += grid.positions(ofCell: column).clamped(to: keys).count
    }
    index.forEachComputedRange(query: position, head: head) { range in
      var start = max(range.lowerBound, keys.lowerBound)
      while start < range.upperBound {
        let column = grid.cell(of: start)
        let end = min(range.upperBound, grid.positions(ofCell: column).upperBound)
        var sum: Float = 0
        for key in start..<end { sum += scores[key] }
        keptMass[base + column] += Double(sum) / total
        computedPairs[base + column] += end - start
        start = end
      }
    }
    return true
  }

  /// Puts exp(score - largest) in the place of scores.
  ///
  /// - Returns: Their sum.
  private static func exponentials(
    of scores: UnsafeMutableBufferPointer<Float>, keys: Range<Int>, largest: Float
  ) -> Double {
    var sum: Float = 0
    for key in keys {
      let value = roughExponential(scores[key] - largest)
      scores[key] = value
      sum += value
    }
    return Double(sum)
  }

  /// The means over the queries of each cell row: [cell row][cell up to the diagonal].
  func means() -> HeadObservation.Cells {
    func triangle(_ value: (_ cell: Int, _ row: Int) -> Double) -> [[Float]] {
      (0..<grid.cells).map { row in
        (0...row).map { Float(value(row * grid.cells + $0, row)) }
      }
    }
    func share(_ part: Double, of whole: Double) -> Double { whole == 0 ? 0 : part / whole }
    return HeadObservation.Cells(
      mass: triangle { share(mass[$0], of: Double(rows[$1])) },
      // Sums of the same numbers in another order: rounding must not make a part more than the whole.
      keptMass: triangle { share(min(keptMass[$0], mass[$0]), of: Double(rows[$1])) },
      computedPairs: triangle { cell, _ in
        share(Double(computedPairs[cell]), of: Double(seenPairs[cell]))
      },
      sinkMass: zip(sinkMass, rows).map { Float(share($0, of: Double($1))) })
  }
}
