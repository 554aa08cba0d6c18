import Compute

/// What one head's output loses under a row set, against its dense output, over sampled rows.
struct OutputError {
  let sums: OutputSums
  /// [rows, headDim]
  let dense: [Float]
  /// [headDim, headDim]: see ``LayerReadout``.
  private let gram: [Float]

  init(sums: OutputSums, gram: [Float]) {
    self.sums = sums
    self.gram = gram
    dense = sums.dense
  }

  var rows: Int { sums.places.count }

  /// Squares of norms of o_sparse - o_dense.
  struct Squares {
    /// Over all rows.
    var output = 0.0
    /// The same as the layer's reader sees it, for each row; zero where nothing is left out.
    var residual: [Float]
    /// Storage that every row reuses.
    fileprivate var masses: [(key: Int, mass: Float)] = []

    init(rows: Int) { residual = [Float](repeating: 0, count: rows) }
  }

  /// Adds what a row loses that keeps these runs, and the columns at the places `single`.
  func add(
    _ mass: RowMass, row: Int, runs: ArraySlice<KeyTileRun>, columns: [Int32],
    single: [Range<Int>], kept: Double, to squares: inout Squares
  ) {
    // The difference is rounding alone.
    guard kept < 1 - 1e-6 else { return }
    var difference = sums.output(
      row: row, mass, runs: runs, columns: columns, single: single, kept: kept,
      masses: &squares.masses)
    let headDim = difference.count
    var weighed: Float = 0
    difference.withUnsafeMutableBufferPointer { difference in
      dense.withUnsafeBufferPointer { dense in
        for d in 0..<headDim { difference[d] -= dense[row * headDim + d] }
      }
      gram.withUnsafeBufferPointer { gram in
        for i in 0..<headDim {
          weighed +=
            difference[i]
            * Self.product(
              UnsafeBufferPointer(rebasing: gram[i * headDim..<(i + 1) * headDim]),
              UnsafeBufferPointer(difference))
        }
      }
      for value in difference { squares.output += Double(value) * Double(value) }
    }
    squares.residual[row] = max(0, weighed)
  }

  /// The inner product of two rows of one length.
  private static func product(
    _ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>
  ) -> Float {
    let (bytesOfA, bytesOfB) = (UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
    var sums = SIMD8<Float>.zero
    var d = 0
    while d + 8 <= a.count {
      sums +=
        bytesOfA.loadUnaligned(fromByteOffset: 4 * d, as: SIMD8<Float>.self)
        * bytesOfB.loadUnaligned(fromByteOffset: 4 * d, as: SIMD8<Float>.self)
      d += 8
    }
    var sum = sums.sum()
    while d < a.count {
      sum += a[d] * b[d]
      d += 1
    }
    return sum
  }

  /// norm(o_sparse - o_dense) / norm(o_dense) over all rows; nil where the dense output is zero.
  func relative(_ squares: Squares) -> Double? {
    let norm = dense.reduce(0.0) { $0 + Double($1) * Double($1) }
    return norm > 0 ? (squares.output / norm).squareRoot() : nil
  }
}
