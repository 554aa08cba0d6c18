import Compute

/// Compares sparse attention of sampled rows with dense attention of the same rows, on the sparse
/// run's own queries and keys, by their log-sum-exps.
struct RecallSampler {
  /// Log-sum-exps of the same rows, [rows, queryHeads] each, natural logarithm.
  struct LogSumExps {
    let sparse: [Float]
    let dense: [Float]
  }

  /// What its tensors are for, as an error says it.
  static let purpose = "measuring recall"

  let backend: any Backend
  let keysAndValues: KeyValueLayer
  let shape: AttentionShape

  /// Copies rows of x, [rows, ...], to a tensor of their own, on the device.
  func gather(_ x: Tensor, rows: [Int]) throws -> Tensor {
    let gathered = try makeTensor(x.type, [rows.count] + x.shape.dropFirst())
    try backend.gatherRows(x, rows: rows.map(Int32.init), into: gathered)
    return gathered
  }

  /// The log-sum-exps of rows at `positions`.
  ///
  /// - Parameters:
  ///   - q: [positions, queryHeads, headDim]; dense attention overwrites it.
  ///   - sparse: [positions, queryHeads], as the sparse kernel filled it.
  func logSumExps(q: Tensor, positions: [Int], sparse: Tensor) throws -> LogSumExps {
    let dense = try makeTensor(.float32, [positions.count, shape.queryHeads])
    try backend.rowAttention(
      q: q, positions: positions, layer: keysAndValues, shape: shape, into: q, logSumExp: dense)
    return LogSumExps(sparse: try backend.read(sparse), dense: try backend.read(dense))
  }

  /// The same, where the sparse kernel has not computed the rows yet: it does so now, for some heads.
  func logSumExps(
    q: Tensor, positions: [Int], index: SparseIndex, heads: Set<Int>
  ) throws -> LogSumExps {
    let o = try makeTensor(q.type, q.shape)
    let sparse = try makeTensor(.float32, [positions.count, shape.queryHeads])
    for (rows, consecutive) in positions.consecutiveRanges {
      try backend.attention(
        q: q.slice(rows: rows), firstPosition: consecutive.lowerBound, layer: keysAndValues,
        shape: shape, index: index.part(positions: consecutive, heads: heads),
        into: o.slice(rows: rows), logSumExp: sparse.slice(rows: rows))
    }
    return try logSumExps(q: q, positions: positions, sparse: sparse)
  }

  private func makeTensor(_ type: DataType, _ shape: [Int]) throws -> Tensor {
    try backend.makeTensor(type, shape, purpose: Self.purpose)
  }
}

extension [Int] {
  /// Ascending distinct numbers as ranges of indices and of the numbers that stand there.
  var consecutiveRanges: [(indices: Range<Int>, numbers: Range<Int>)] {
    var ranges: [(indices: Range<Int>, numbers: Range<Int>)] = []
    for (index, number) in enumerated() {
      if let last = ranges.last, last.numbers.upperBound == number {
        ranges[ranges.count - 1] = (
          last.indices.lowerBound..<index + 1, last.numbers.lowerBound..<number + 1
        )
      } else {
        ranges.append((index..<index + 1, number..<number + 1))
      }
    }
    return ranges
  }
}
