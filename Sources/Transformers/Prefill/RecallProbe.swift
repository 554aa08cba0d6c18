import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Compares sampled rows of sparse attention with dense attention of the same rows, on the sparse
/// run's own queries and keys, by their log-sum-exps.
struct RecallProbe {
  private let positions: [Int]
  /// [layer][head][sampled row]
  private var recalls: [[[Double]]]

  init(positions: Range<Int>, configuration: DecoderConfiguration) {
    self.positions = RecallSummary.sampledPositions(of: positions)
    let heads = configuration.attention[0].queryHeads
    recalls = Array(repeating: Array(repeating: [], count: heads), count: configuration.layers)
  }

  /// The sampled rows of one block, kept while attention overwrites the queries.
  struct Sample {
    let positions: [Int]
    /// Rows within the block.
    let rows: [Int]
    /// [positions, queryHeads, headDim]
    let q: Tensor
    /// [rows of the block, queryHeads]; the kernel fills it.
    let logSumExp: Tensor
    let keysAndValues: KeyValueLayer
    let shape: AttentionShape
  }

  /// nil when the block has no sampled row, or the index computes every pair.
  func sample(
    _ rows: Range<Int>, q: Tensor, layer: Int, shape: AttentionShape,
    keysAndValues: KeyValueLayer, index: SparseIndex, backend: any Backend
  ) throws -> Sample? {
    let sampled = positions.filter(rows.contains)
    guard !sampled.isEmpty, index.rowSets.contains(where: { $0 != .all }) else { return nil }
    let copy = try backend.makeTensor(
      .float32, [sampled.count, shape.queryHeads, shape.headDim], purpose: "measuring recall")
    let offsets = sampled.map { $0 - rows.lowerBound }
    try backend.write(
      try offsets.flatMap { try backend.read(q.slice(rows: $0..<$0 + 1)) }, to: copy)
    return Sample(
      positions: sampled, rows: offsets, q: copy,
      logSumExp: try backend.makeTensor(
        .float32, [rows.count, shape.queryHeads], purpose: "measuring recall"),
      keysAndValues: keysAndValues, shape: shape)
  }

  /// Adds the recall of the sampled rows, once the kernel has filled in their log-sum-exps.
  mutating func compare(_ sample: Sample, layer: Int, backend: any Backend) throws {
    let heads = sample.shape.queryHeads
    let denseTensor = try backend.makeTensor(
      .float32, [sample.positions.count, heads], purpose: "measuring recall")
    try backend.rowAttention(
      q: sample.q, positions: sample.positions, layer: sample.keysAndValues, shape: sample.shape,
      into: sample.q, logSumExp: denseTensor)
    let dense = try backend.read(denseTensor)
    let sparse = try backend.read(sample.logSumExp)
    for (entry, row) in sample.rows.enumerated() {
      for head in 0..<heads {
        let difference = Double(sparse[row * heads + head]) - Double(dense[entry * heads + head])
        recalls[layer][head].append(min(1, exp(difference)))
      }
    }
  }

  func summary() -> RecallSummary { RecallSummary(recalls) }
}

/// Recall per head: the share of the softmax mass that the computed pairs hold.
public struct RecallSummary: Sendable, Equatable {
  /// One head's sampled rows.
  public struct Head: Sendable, Equatable {
    public let mean: Double
    /// Nine rows of ten have at least this.
    public let tenthPercentile: Double
  }

  /// [layer][head]
  public let heads: [[Head]]

  /// Mean over heads.
  public var mean: Double {
    let means = heads.joined().map(\.mean)
    return means.isEmpty ? 1 : means.reduce(0, +) / Double(means.count)
  }

  /// The mean of the worst head.
  public var worst: Double { heads.joined().map(\.mean).min() ?? 1 }

  init(_ recalls: [[[Double]]]) {
    heads = recalls.map { layer in
      layer.map { rows in
        // A head without samples was computed densely.
        guard !rows.isEmpty else { return Head(mean: 1, tenthPercentile: 1) }
        return Head(
          mean: rows.reduce(0, +) / Double(rows.count),
          tenthPercentile: rows.sorted()[(rows.count - 1) / 10])
      }
    }
  }

  static func sampledPositions(of positions: Range<Int>) -> [Int] {
    let spread = (0..<256).map { positions.lowerBound + $0 * positions.count / 256 }
    return Set(spread + positions.suffix(64)).sorted()
  }
}
