import Compute
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Products with experts on the reference, on numbers that a person can follow.
@Suite struct ExpertProductTests {
  private let backend = ReferenceBackend()

  private func tensor(_ values: [Float], _ extents: [Int]) throws -> Tensor {
    let tensor = try backend.makeTensor(.float32, extents, purpose: "a test")
    try backend.write(values, to: tensor)
    return tensor
  }

  /// Two experts of one output and one input, and a row for each.
  private func routing() throws -> ExpertRouting {
    let routing = try ExpertRouting(
      rows: 2, rule: RoutingRule(experts: 2, perRow: 1, score: .softmax, normalizes: true),
      backend: backend, purpose: "a test")
    try backend.route(tensor([0, 1, 1, 0], [2, 2]), bias: nil, into: routing)
    return routing
  }

  private func weights(_ values: [Float], bias: [Float]) throws -> ExpertWeights {
    try backend.prepareExperts(tensor(values, [2, 1, 1]))
      .with(bias: backend.prepare(tensor(bias, [2, 1]), as: .norm))
  }

  @Test("Each expert adds a bias of its own")
  func addsBiases() throws {
    let y = try tensor([.nan, .nan], [2, 1])
    // Position 0 is expert 0's, position 1 expert 1's.
    try backend.expertLinear(
      tensor([3, 5], [2, 1]), weight: weights([10, 100], bias: [1, 2]), by: routing(), into: y)
    #expect(try backend.read(y) == [31, 502])
  }

  @Test("Clamped SwiGLU bounds the gate above and up on both sides")
  func clamps() throws {
    let limit: Float = 2
    func output(_ gate: Float, _ up: Float) throws -> Float {
      let y = try tensor([.nan, .nan], [2, 1])
      try backend.gatedExperts(
        tensor([1, 1], [2, 1]), gate: weights([gate - 1, gate - 1], bias: [1, 1]),
        up: weights([up, up], bias: [0, 0]),
        activation: .clampedSwiGLU(alpha: 1.702, limit: limit), by: routing(), into: y)
      return try backend.read(y)[0]
    }
    func expected(_ gate: Double, _ up: Double) -> Double {
      (up + 1) * gate / (1 + exp(-1.702 * gate))
    }
    for (gate, up, clampedGate, clampedUp) in [
      (0.5, 1.5, 0.5, 1.5), (9, 9, 2, 2), (-9, -9, -9, -2), (2.5, 0, 2, 0),
    ] as [(Float, Float, Double, Double)] {
      let value = Double(try output(gate, up))
      #expect(abs(value - expected(clampedGate, clampedUp)) < 1e-5)
    }
    #expect(try output(.nan, 1).isNaN)
    #expect(try output(1, .nan).isNaN)
  }

  @Test("A bias is a part of the logits of a softmax, in the choice and in the weights")
  func biasOfSoftmax() {
    let rule = RoutingRule(experts: 3, perRow: 2, score: .softmax, normalizes: true)
    let chosen = rule.choose(logits: [2, 0, 1], bias: [0, 5, -9])
    #expect(chosen.experts == [1, 0])
    // Over the chosen ones, as over all and normalised.
    #expect(abs(chosen.weights[0] - 1 / (1 + exp(2.0 - 5))) < 1e-12)
    #expect(abs(chosen.weights[0] + chosen.weights[1] - 1) < 1e-12)
  }
}
