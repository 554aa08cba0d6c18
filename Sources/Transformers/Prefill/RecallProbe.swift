import Compute
import SparseAttention

/// Compares sampled rows of sparse attention with dense attention of the same rows, on the sparse
/// run's own queries and keys, by their log-sum-exps.
struct RecallProbe {
  private let positions: [Int]
  private(set) var meter: RecallMeter

  /// - Parameters:
  ///   - positions: What is read now; rows that the cache held before are gone.
  ///   - sinkAndWindow: As the planner gives it.
  init(positions: Range<Int>, sinkAndWindow: Int, configuration: DecoderConfiguration) {
    self.positions = RecallRows.positions(
      tokens: positions.upperBound, sinkAndWindow: sinkAndWindow
    ).filter(positions.contains)
    meter = RecallMeter(
      layers: configuration.layers, heads: configuration.attention[0].queryHeads)
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

  /// nil when the block has no sampled row. Where the index computes every pair nothing is measured,
  /// and the rows count as kept whole.
  mutating func sample(
    _ rows: Range<Int>, q: Tensor, layer: Int, shape: AttentionShape,
    keysAndValues: KeyValueLayer, index: SparseIndex, backend: any Backend
  ) throws -> Sample? {
    let sampled = positions.filter(rows.contains)
    guard !sampled.isEmpty else { return nil }
    guard !index.isDense else {
      let equal = [Float](repeating: 0, count: sampled.count * shape.queryHeads)
      meter.add(layer: layer, sparse: equal, dense: equal)
      return nil
    }
    let copy = try backend.makeTensor(
      backend.activationType, [sampled.count, shape.queryHeads, shape.headDim],
      purpose: "measuring recall")
    let offsets = sampled.map { $0 - rows.lowerBound }
    try backend.gatherRows(q, rows: offsets.map(Int32.init), into: copy)
    return Sample(
      positions: sampled, rows: offsets, q: copy,
      logSumExp: try backend.makeTensor(
        .float32, [rows.count, shape.queryHeads], purpose: "measuring recall"),
      keysAndValues: keysAndValues, shape: shape)
  }

  /// Adds the recall of the sampled rows, once the kernel has filled in their log-sum-exps.
  mutating func compare(_ sample: Sample, layer: Int, backend: any Backend) throws {
    let heads = sample.shape.queryHeads
    let dense = try backend.makeTensor(
      .float32, [sample.positions.count, heads], purpose: "measuring recall")
    try backend.rowAttention(
      q: sample.q, positions: sample.positions, layer: sample.keysAndValues, shape: sample.shape,
      into: sample.q, logSumExp: dense)
    let sparse = try backend.read(sample.logSumExp)
    meter.add(
      layer: layer, sparse: sample.rows.flatMap { sparse[$0 * heads..<($0 + 1) * heads] },
      dense: try backend.read(dense))
  }
}
