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
    let sampler: RecallSampler
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
    let sampler = RecallSampler(backend: backend, keysAndValues: keysAndValues, shape: shape)
    let offsets = sampled.map { $0 - rows.lowerBound }
    return Sample(
      positions: sampled, rows: offsets, q: try sampler.gather(q, rows: offsets),
      logSumExp: try backend.makeTensor(
        .float32, [rows.count, shape.queryHeads], purpose: RecallSampler.purpose),
      sampler: sampler)
  }

  /// Adds the recall of the sampled rows, once the kernel has filled in their log-sum-exps.
  mutating func compare(_ sample: Sample, layer: Int) throws {
    let sums = try sample.sampler.logSumExps(
      q: sample.q, positions: sample.positions,
      sparse: sample.sampler.gather(sample.logSumExp, rows: sample.rows))
    meter.add(layer: layer, sparse: sums.sparse, dense: sums.dense)
  }
}
