import Compute
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

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

  @Test func `divergences are sums over the reference's distribution, and never below zero`() throws
  {
    let backend = ReferenceBackend()
    // Probabilities 1/2, 1/4, 1/4 and 1/4, 1/2, 1/4; a factor of all does not matter.
    let one = try logits([2, 1, 1].map { log2($0) + 7 }.map { $0 * 0.693_147_2 }, on: backend)
    let other = try logits([1, 2, 1].map { log2($0) * 0.693_147_2 }, on: backend)
    #expect(try backend.divergences(of: one, from: one) == [0])
    let found = try backend.divergences(of: other, from: one)[0]
    #expect(abs(found - 0.25 * 0.693_147_2) < 1e-6)
    // An id without probability in the reference adds nothing; NaN is no number.
    let without = try logits([1, -.infinity, 1], on: backend)
    let half = try backend.divergences(of: other, from: without)[0]
    #expect(abs(half - 0.5 * (0.693_147_2 + 0.693_147_2)) < 1e-6)
    let broken = try logits([1, .nan, 1], on: backend)
    #expect(try backend.divergences(of: broken, from: one)[0].isNaN)
    #expect(try backend.divergences(of: one, from: broken)[0].isNaN)
    #expect(throws: ComputeError.self) {
      try backend.divergences(of: one, from: logits([1, 2], on: backend))
    }
    #expect(backend.hostOperations == [.divergences])
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
