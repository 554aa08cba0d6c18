import Compute

/// The output error of row sets: norm(o_sparse - o_dense) / norm(o_dense) over sampled rows.
struct OutputError {
  private let backend: any Backend
  private let headDim: Int
  private let keys: Int
  /// [headDim, keys]
  private let values: Tensor

  /// - Parameter values: [keys, headDim] of the head's key-value head.
  init(backend: any Backend, values: [Float], keys: Int, headDim: Int) throws {
    self.backend = backend
    self.headDim = headDim
    self.keys = keys
    var transposed = [Float](repeating: 0, count: keys * headDim)
    transposed.withUnsafeMutableBufferPointer { target in
      values.withUnsafeBufferPointer { source in
        for key in 0..<keys {
          for d in 0..<headDim { target[d * keys + key] = source[key * headDim + d] }
        }
      }
    }
    self.values = try backend.makeTensor(
      backend.activationType, [headDim, keys], purpose: "measuring output error")
    try backend.write(transposed, to: self.values)
  }

  /// The rows' outputs under a row set: [places, headDim]. `kept` are the rows' shares of mass.
  func outputs(
    _ mass: RowMass, _ rowSet: RowSet, on grid: TileGrid, places: [Int], kept: [Double]
  ) throws -> [Float] {
    var result: [Float] = []
    let step = RowMass.rowsAtOnce(keys: keys)
    for start in stride(from: 0, to: places.count, by: step) {
      let batch = start..<min(start + step, places.count)
      let rows = Array(places[batch])
      let weights = try backend.makeTensor(
        backend.activationType, [rows.count, keys], purpose: "measuring output error")
      try backend.write(mass.masked(rowSet, on: grid, places: rows), to: weights)
      let o = try backend.makeTensor(
        .float32, [rows.count, headDim], purpose: "measuring output error")
      try backend.linear(weights, weight: values, bias: nil, into: o, accumulate: false)
      let sums = try backend.read(o)
      for row in rows.indices {
        let share = max(Float(kept[start + row]), .leastNormalMagnitude)
        result += sums[row * headDim..<(row + 1) * headDim].map { $0 / share }
      }
    }
    return result
  }

  /// Squares of norm(sparse - dense) and norm(dense).
  static func squares(_ sparse: [Float], _ dense: [Float]) -> (difference: Double, dense: Double) {
    zip(sparse, dense).reduce(into: (0.0, 0.0)) { sum, pair in
      let difference = Double(pair.0) - Double(pair.1)
      sum.0 += difference * difference
      sum.1 += Double(pair.1) * Double(pair.1)
    }
  }
}
