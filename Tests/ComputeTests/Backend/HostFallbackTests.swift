import Compute
import Testing

@Suite struct HostFallbackTests {
  private func logits(_ values: [Float], on backend: ReferenceBackend) throws -> Tensor {
    let tensor = try backend.makeTensor(.float32, [1, values.count], purpose: "a test")
    try backend.write(values, to: tensor)
    return tensor
  }

  @Test func `what was served is recorded once, by name, and nothing else`() throws {
    let backend = ReferenceBackend()
    #expect(backend.hostOperations.isEmpty)
    let logits = try logits([1, 3, 3, 2], on: backend)
    #expect(try backend.mostLikely(logits) == [1])
    #expect(try backend.mostLikely(logits) == [1])
    try backend.penalize([1], in: logits, by: 2)
    #expect(try backend.read(logits) == [1, 1.5, 3, 2])
    #expect(backend.hostOperations == [.mostLikely, .penalize])
  }

  @Test func `a call that does not fit is refused`() throws {
    let backend = ReferenceBackend()
    let logits = try logits([1, 2], on: backend)
    #expect(throws: ComputeError.self) { try backend.penalize([2], in: logits, by: 2) }
    #expect(throws: ComputeError.self) { try backend.scoreTokens(logits: logits, next: [0, 1]) }
    #expect(throws: ComputeError.self) {
      try backend.draw(TokenDraw(temperature: 1), from: logits, random: [])
    }
    #expect(throws: ComputeError.self) { try backend.meanPooled(logits, blockSize: 64) }
  }

  @Test func `a backend that builds no indices says so`() throws {
    let backend = ReferenceBackend()
    #expect(!backend.capabilities.buildsIndices)
    let q = try backend.makeTensor(.float32, [1, 1, 4], purpose: "a test")
    let means = try backend.makeTensor(.float32, [1, 1, 4], purpose: "a test")
    #expect {
      try backend.poolQueries(q, firstPosition: 0, into: means, firstBlock: 0)
    } throws: {
      "\($0)".contains("reference") && "\($0)".contains("indices")
    }
  }
}
