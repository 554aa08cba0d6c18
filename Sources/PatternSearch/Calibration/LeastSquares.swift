/// Non-negative least squares (a cost cannot be negative).
package enum LeastSquares {
  /// Coefficients c >= 0 that approximately minimise the sum over rows of (1 - features . c / target)^2.
  ///
  /// Errors are relative, so that a short measurement counts as much as a long one. The most negative
  /// coefficient is set to zero and the rest are fitted again, until none is negative. With a few features that
  /// all raise the target this finds the optimum in practice.
  ///
  /// - features: one row for each target; targets are positive.
  /// - Returns: one coefficient for each feature; zero where the rows do not determine it.
  package static func nonNegative(features: [[Double]], targets: [Double]) -> [Double] {
    let count = features.first?.count ?? 0
    let rows = zip(features, targets).map { row, target in row.map { $0 / target } }
    // Columns are scaled to similar sizes: pairs (1e9) and launches (1) are in one matrix.
    let sizes = (0..<count).map { column in
      max(rows.reduce(0) { $0 + $1[column] * $1[column] }.squareRoot(), .leastNormalMagnitude)
    }
    let scaled = rows.map { row in zip(row, sizes).map { $0 / $1 } }
    var active = Array(0..<count)
    while !active.isEmpty {
      let solution = solve(scaled, active)
      guard let worst = solution.indices.min(by: { solution[$0] < solution[$1] }),
        solution[worst] < 0
      else {
        var coefficients = [Double](repeating: 0, count: count)
        for (row, column) in active.enumerated() {
          coefficients[column] = solution[row] / sizes[column]
        }
        return coefficients
      }
      active.remove(at: worst)
    }
    return [Double](repeating: 0, count: count)
  }

  /// Normal equations of the active columns with target 1 in every row, by Gaussian elimination.
  private static func solve(_ rows: [[Double]], _ active: [Int]) -> [Double] {
    let n = active.count
    var matrix = active.map { i in
      active.map { j in rows.reduce(0) { $0 + $1[i] * $1[j] } }
        + [rows.reduce(0) { $0 + $1[i] }]
    }
    for i in 0..<n { matrix[i][i] += 1e-12 }
    for pivot in 0..<n {
      let best = (pivot..<n).max { abs(matrix[$0][pivot]) < abs(matrix[$1][pivot]) } ?? pivot
      matrix.swapAt(pivot, best)
      guard matrix[pivot][pivot] != 0 else { continue }
      for row in 0..<n where row != pivot {
        let factor = matrix[row][pivot] / matrix[pivot][pivot]
        for column in pivot...n { matrix[row][column] -= factor * matrix[pivot][column] }
      }
    }
    return (0..<n).map { matrix[$0][$0] == 0 ? 0 : matrix[$0][n] / matrix[$0][$0] }
  }
}
