import Compute
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct AttentionSinkTests {
  private let backend = ReferenceBackend(tile: TileShape(rows: 4, columns: 4))
  private let shape = AttentionShape(queryHeads: 2, keyValueHeads: 2, headDim: 4, scale: 0.5)
  private let keys = 9

  private func tensor(_ values: [Float], _ extents: [Int]) throws -> Tensor {
    let tensor = try backend.makeTensor(.float32, extents, purpose: "a test")
    try backend.write(values, to: tensor)
    return tensor
  }

  private func numbers(_ count: Int, _ phase: Float) -> [Float] {
    (0..<count).map { sinf(Float($0) * 1.7 + phase) }
  }

  /// Both heads ask for the first dimension with the same strength, so that a key can have any score.
  private func queries(_ rows: Int) throws -> Tensor {
    try tensor(
      (0..<rows * 2).flatMap { _ in [2, 0, 0, 0] as [Float] }, [rows, 2, shape.headDim])
  }

  /// A layer of random keys and values; with `extra`, behind one more key of each head that has these
  /// scores and no value.
  private func layer(extra scores: [Float]? = nil, sinks: [Float]? = nil) throws -> KeyValueLayer {
    let dim = shape.headDim
    let ks = numbers(2 * keys * dim, 0.3)
    let vs = numbers(2 * keys * dim, 1.1)
    func rows(_ values: [Float], _ extra: (Int) -> [Float]) -> [Float] {
      (0..<2).flatMap { head -> [Float] in
        let own = Array(values[head * keys * dim..<(head + 1) * keys * dim])
        return scores == nil ? own : extra(head) + own
      }
    }
    let count = keys + (scores == nil ? 0 : 1)
    return KeyValueLayer(
      // 2 * 0.5 times the first element is the score.
      keys: try tensor(rows(ks) { [scores?[$0] ?? 0, 0, 0, 0] }, [2, count, dim]),
      values: try tensor(rows(vs) { _ in [0, 0, 0, 0] }, [2, count, dim]), count: count,
      sinks: try sinks.map { try tensor($0, [$0.count]) })
  }

  private func attended(_ layer: KeyValueLayer) throws -> [Float] {
    let q = try queries(1)
    let o = try backend.makeTensor(.float32, q.shape, purpose: "a test")
    let sums = try backend.makeTensor(.float32, [1, 2], purpose: "a test")
    try backend.rowAttention(
      q: q, positions: [layer.count - 1], layer: layer, shape: shape, into: o, logSumExp: sums)
    return try backend.read(o) + backend.read(sums)
  }

  @Test("A sink is a key with its score and a value of zero")
  func isAKeyWithoutValue() throws {
    let scores: [Float] = [0.7, 3]
    let expected = try attended(layer(extra: scores))
    let found = try attended(layer(sinks: scores))
    for (value, target) in zip(found, expected) { #expect(abs(value - target) < 1e-6) }
    let without = try attended(layer())
    #expect(zip(found, without).contains { abs($0 - $1) > 0.1 })
  }

  @Test("A sink joins attention that was computed without it, by its log-sum-exp")
  func joinsByLogSumExp() throws {
    let scores: [Float] = [-1, 2]
    let without = try attended(layer())
    let expected = try attended(layer(sinks: scores))
    for head in 0..<2 {
      let weights = AttentionSinks.weights(without[8 + head], sink: scores[head])
      #expect(abs(weights.logSumExp - expected[8 + head]) < 1e-6)
      for element in head * 4..<head * 4 + 4 {
        #expect(abs(weights.factor * without[element] - expected[element]) < 1e-6)
      }
    }
    let nothing = AttentionSinks.weights(-.infinity, sink: 2)
    #expect(nothing.factor == 0)
    #expect(nothing.logSumExp == 2)
  }

  @Test("What selectors look at lacks the mass of the sink")
  func estimatesLackItsMass() throws {
    let scores: [Float] = [0.2, 2]
    func mass(_ layer: KeyValueLayer) throws -> [Float] {
      try backend.read(
        backend.lastRowSums(
          q: queries(1), firstPosition: keys - 1, layer: layer, shape: shape, heads: [0, 1])
      ).map { $0.vertical.reduce(0, +) }
    }
    let sums = try attended(layer())
    let found = try mass(layer(sinks: scores))
    for head in 0..<2 {
      let expected = 1 / (1 + expf(scores[head] - sums[8 + head]))
      #expect(abs(found[head] - expected) < 1e-5)
    }
    #expect(try mass(layer()).allSatisfy { abs($0 - 1) < 1e-5 })
  }

  @Test("Sinks of another number of heads are refused")
  func refusesMisfits() throws {
    #expect(throws: ComputeError.self) { try attended(layer(sinks: [1, 2, 3])) }
  }
}
