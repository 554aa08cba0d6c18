import MInference
import Testing

/// The reference here is written out in place: softmax over all keys up to the query's own, or over
/// those that a mask lets through, in double precision.
@Suite struct AttentionKernelsTests {
  let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 64)
  let lengths = [150, 0, 1, 67]

  private func makeBatch() throws -> AttentionBatch {
    var state: UInt64 = 42
    func numbers(_ count: Int) -> [Float] {
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(state >> 40) / Float(1 << 23) - 1
      }
    }
    let rows = lengths.reduce(0, +)
    return try AttentionBatch(
      q: numbers(rows * 256), k: numbers(rows * 128), v: numbers(rows * 128), shape: shape,
      lengths: lengths)
  }

  /// o of one row and head over the keys that `isKept` lets through.
  private func attention(
    _ batch: AttentionBatch, sequence: Int, row: Int, head: Int, isKept: (Int) -> Bool
  ) -> [Double] {
    let start = lengths[..<sequence].reduce(0, +)
    func vector(_ values: [Float], _ row: Int, _ head: Int, heads: Int) -> [Double] {
      let first = ((start + row) * heads + head) * 64
      return values[first..<first + 64].map(Double.init)
    }
    let q = vector(batch.q, row, head, heads: 4)
    var weights: [(Int, Double)] = []
    for key in 0...row where isKept(key) {
      let k = vector(batch.k, key, head / 2, heads: 2)
      let score = zip(q, k).reduce(0) { $0 + $1.0 * $1.1 } / 8
      weights.append((key, exponential(score)))
    }
    let total = weights.reduce(0) { $0 + $1.1 }
    return weights.reduce(into: Array(repeating: 0, count: 64)) { sum, entry in
      let v = vector(batch.v, entry.0, head / 2, heads: 2)
      for d in 0..<64 { sum[d] += entry.1 / total * v[d] }
    }
  }

  /// exp by its series after halving; scores here are small.
  private func exponential(_ x: Double) -> Double {
    var (term, sum) = (1.0, 1.0)
    for n in 1..<40 {
      term *= x / 1024 / Double(n)
      sum += term
    }
    return (0..<10).reduce(sum) { value, _ in value * value }
  }

  @Test func `dense attention of ragged sequences is softmax attention of each`() throws {
    let batch = try makeBatch()
    let output = try AttentionKernels(threads: 2).dense(batch)
    #expect(output.density == 1)
    #expect(output.causalPairs == [150 * 151 / 2, 0, 1, 67 * 68 / 2])
    for (sequence, row, head) in [(0, 0, 0), (0, 149, 3), (0, 77, 1), (2, 0, 2), (3, 66, 0)] {
      let expected = attention(batch, sequence: sequence, row: row, head: head) { _ in true }
      let first = ((lengths[..<sequence].reduce(0, +) + row) * 4 + head) * 64
      for d in 0..<64 {
        #expect(abs(Double(output.o[first + d]) - expected[d]) < 1e-5)
      }
    }
  }

  @Test func `sparse kernels compute at least what is named, and say how much`() throws {
    let batch = try makeBatch()
    let kernels = try AttentionKernels(threads: 2)
    let dense = try kernels.dense(batch)
    let indices = try kernels.estimateVerticalSlash(batch, vertical: 30, slash: 50)
    let blocks = try kernels.estimateBlocks(batch, topK: 1)
    for output in [
      try kernels.aShape(batch, sink: 4, local: 16),
      try kernels.verticalSlash(batch, indices: indices),
      try kernels.blockSparse(batch, blocks: blocks),
    ] {
      #expect(output.o.count == dense.o.count)
      #expect(output.density > 0 && output.density <= 1)
      for (sparse, full) in zip(output.logSumExp, dense.logSumExp) {
        #expect(sparse <= full + 1e-5)
      }
    }
  }

  @Test func `a column far from the diagonal is computed alone`() throws {
    let batch = try makeBatch()
    let chosen = VerticalSlashIndices(columns: [5, 5, 3], offsets: [0])
    let indices = lengths.map { length in
      Array(
        repeating: length > 5 ? chosen : VerticalSlashIndices(columns: [], offsets: []), count: 4)
    }
    let output = try AttentionKernels(threads: 2).verticalSlash(batch, indices: indices)
    // The diagonal's tile rows begin at a multiple of 32 at most: the row's own tile and 3 and 5.
    let row = 149
    let pairs = output.computedPairs[0][0]
    #expect(pairs < output.causalPairs[0])
    var best = Double.infinity
    for tileStart in stride(from: row, through: 0, by: -1) {
      let expected = attention(batch, sequence: 0, row: row, head: 2) { key in
        key >= tileStart || key == 3 || key == 5
      }
      let first = (row * 4 + 2) * 64
      let error = (0..<64).map { abs(Double(output.o[first + $0]) - expected[$0]) }.max() ?? 1
      best = min(best, error)
    }
    #expect(best < 1e-5, "no diagonal tile explains the output")
  }

  @Test func `what does not fit is an error that says the numbers`() throws {
    #expect(throws: LanguageModelError.self) {
      try AttentionBatch(q: [1], k: [1], v: [1], shape: shape, lengths: [1])
    }
    #expect(throws: LanguageModelError.self) {
      try AttentionBatch(q: [], k: [], v: [], shape: shape, lengths: [1, -1])
    }
    let batch = try makeBatch()
    let kernels = try AttentionKernels(threads: 1)
    #expect(throws: LanguageModelError.self) { try kernels.verticalSlash(batch, indices: []) }
    let outside = lengths.map { _ in
      Array(repeating: VerticalSlashIndices(columns: [150], offsets: []), count: 4)
    }
    #expect(throws: LanguageModelError.self) { try kernels.verticalSlash(batch, indices: outside) }
    #expect(throws: LanguageModelError.self) { try kernels.aShape(batch, sink: 0, local: 0) }
    let unordered = lengths.map { _ in
      Array(
        repeating: SelectedBlocks(blockSize: 64, blockOffsets: [0], keyBlocks: [1]), count: 4)
    }
    #expect(throws: LanguageModelError.self) { try kernels.blockSparse(batch, blocks: unordered) }
  }

  @Test func `an empty batch gives an empty output`() throws {
    let batch = try AttentionBatch(q: [], k: [], v: [], shape: shape)
    let output = try AttentionKernels(threads: 1).dense(batch)
    #expect(output.o.isEmpty && output.logSumExp.isEmpty && output.density == 1)
  }
}
