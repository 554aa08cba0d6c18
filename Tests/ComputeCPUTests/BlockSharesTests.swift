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
      for stride in ShareRule.strides {
        func shares(_ backend: any Backend) throws -> (shape: [Int], values: [Float]) {
          let tensor = try backend.blockShares(
            q: problem.queries(on: backend), firstPosition: first,
            layer: problem.layer(on: backend), shape: shape, heads: heads, stride: stride)
          return (tensor.shape, try backend.read(tensor))
        }
        let (expectedShape, expected) = try shares(reference)
        let (actualShape, actual) = try shares(cpu)
        #expect(actualShape == expectedShape)
        #expect(zip(actual, expected).allSatisfy { abs($0 - $1) < 1e-5 })
        // Every query block's shares add up to all of its attention.
        let width = expectedShape[2]
        for row in 0..<expected.count / width {
          let sum = actual[row * width..<(row + 1) * width].reduce(0, +)
          #expect(abs(sum - 1) < 1e-4)
        }
      }
    }
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
