import Compute
import ComputeCPU
import Testing

/// Shares of key blocks on the CPU are those of the reference.
@Suite struct BlockSharesTests {
  @Test(arguments: InstructionSet.available, [true, false])
  func `shares agree with the reference over random shapes`(
    set: InstructionSet, useBLAS: Bool
  ) throws {
    let cpu = try CPUBackend(threads: 2, instructionSet: set, useBLAS: useBLAS)
    let reference = ReferenceBackend()
    var random = RandomNumbers(seed: 5)
    for _ in 0..<6 {
      let group = random.pick([1, 2, 3])
      let shape = AttentionShape(
        queryHeads: 2 * group, keyValueHeads: 2, headDim: random.pick([16, 64, 96]),
        slidingWindow: random.pick([nil, nil, 70]))
      let first = random.pick([0, 37, 128, 200])
      let problem = AttentionProblem(
        shape: shape, firstPosition: first, rows: random.pick([1, 5, 130, 301]),
        type: random.pick([.float32, .bfloat16]), random: &random)
      let heads = random.pick([[0], [1, 0], Array(0..<2 * group)])
      let antidiagonals = ShareSource.strides.flatMap { stride in
        ShareSource.queryStrides.map {
          ShareSource.antidiagonals(stride: stride, queryStride: $0)
        }
      }
      for source in antidiagonals + ShareSource.meanSizes.map { .means(size: $0) } {
        func shares(_ backend: any Backend) throws -> (shape: [Int], values: [Float]) {
          let tensor = try backend.blockShares(
            q: problem.queries(on: backend), firstPosition: first,
            layer: problem.layer(on: backend), shape: shape, heads: heads, source: source)
          return (tensor.shape, try backend.read(tensor))
        }
        let (expectedShape, expected) = try shares(reference)
        let (actualShape, actual) = try shares(cpu)
        #expect(actualShape == expectedShape)
        #expect(zip(actual, expected).allSatisfy { abs($0 - $1) < 1e-5 })
        // Every query block's shares add up to all of its attention, or nothing of it was scored.
        let width = expectedShape[2]
        for row in 0..<expected.count / width {
          let sum = actual[row * width..<(row + 1) * width].reduce(0, +)
          let isScored = expected[row * width..<(row + 1) * width].contains { $0 > 0 }
          #expect(isScored ? abs(sum - 1) < 1e-4 : sum == 0)
          #expect(isScored || source.skipsGroups)
        }
      }
    }
  }

  @Test func `of a part of a block means are over the rows that are there`() throws {
    let cpu = try CPUBackend(threads: 1)
    let shape = AttentionShape(queryHeads: 1, keyValueHeads: 1, headDim: 1, scale: 1)
    func tensor(_ values: [Float], _ shape: [Int]) throws -> Tensor {
      let tensor = try cpu.makeTensor(.float32, shape, purpose: "test")
      try cpu.write(values, to: tensor)
      return tensor
    }
    // Keys of the first block are 0, of the second 1; the queries are two rows behind both.
    let keys = [Float](repeating: 0, count: 128) + [Float](repeating: 1, count: 128) + [5, 1]
    let k = try tensor(keys, [1, 258, 1])
    let shares = try cpu.read(
      cpu.blockShares(
        q: tensor([1, 3], [2, 1, 1]), firstPosition: 256,
        layer: KeyValueLayer(keys: k, values: k, count: 258), shape: shape, heads: [0],
        source: .means(size: 128)))
    // The mean query is 2, mean keys are 0, 1 and 3.
    let weights = [1, 7.389_056_1, 403.428_79]
    let total = weights.reduce(0, +)
    #expect(zip(shares, weights).allSatisfy { abs(Double($0) - $1 / total) < 1e-6 })
  }

  @Test func `a stride that there is not is refused`() throws {
    let cpu = try CPUBackend(threads: 1)
    var random = RandomNumbers(seed: 5)
    let shape = AttentionShape(queryHeads: 1, keyValueHeads: 1, headDim: 16)
    let problem = AttentionProblem(shape: shape, firstPosition: 0, rows: 9, random: &random)
    #expect(throws: ComputeError.self) {
      try cpu.blockShares(
        q: problem.queries(on: cpu), firstPosition: 0, layer: problem.layer(on: cpu), shape: shape,
        heads: [0], stride: 7)
    }
  }
}

extension ShareSource {
  /// Whether a block may have rows of which none is scored.
  fileprivate var skipsGroups: Bool {
    if case .antidiagonals(_, let queryStride) = self { queryStride > 1 } else { false }
  }
}
