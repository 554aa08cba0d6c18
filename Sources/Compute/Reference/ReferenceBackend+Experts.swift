#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Mixtures of experts as their definitions read.
extension ReferenceBackend {
  public func prepareExperts(
    _ count: Int, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights {
    ExpertWeights(try (0..<count).map { try prepare(matrix($0), as: .matrix) })
  }

  public func prepareExperts(_ numbers: Tensor) throws -> ExpertWeights {
    ExpertWeights(stacked: Weight(numbers))
  }

  public func route(_ logits: Tensor, bias: Weight?, into routing: ExpertRouting) throws {
    try routing.require(logits: logits, bias: bias)
    let rule = routing.rule
    let values = try doubles(logits)
    let bias = try bias.map { try doubles($0.tensor(for: "route")) } ?? []
    var chosen: [Int32] = []
    var weights: [Double] = []
    for row in 0..<routing.rows {
      let choice = rule.choose(
        logits: Array(values[row * rule.experts..<(row + 1) * rule.experts]), bias: bias)
      chosen += choice.experts.map { Int32($0) }
      weights += choice.weights
    }
    let positions = ExpertPositions(
      chosen: chosen, perRow: rule.perRow, experts: rule.experts)
    try store(weights, in: routing.weights)
    try store(integers: positions.places, in: routing.places)
    try store(integers: positions.sources, in: routing.sources)
    try store(integers: positions.experts, in: routing.experts)
    try store(integers: positions.offsets, in: routing.offsets)
  }

  public func gatherRows(_ x: Tensor, by routing: ExpertRouting, into y: Tensor) throws {
    try routing.requireRows("gatherRows", rows: x, positions: y)
    let sources = try integers(routing.sources)
    try store(try sources.flatMap { try doubles(x.slice(rows: $0..<$0 + 1)) }, in: y)
  }

  public func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, activation: GatedActivation,
    by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("gatedExperts", x, [gate, up], y)
    let gates = try products(x, gate, routing)
    let ups = try products(x, up, routing)
    try store(zip(gates, ups).map { activation.value(gate: $0, up: $1) }, in: y)
  }

  public func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("expertLinear", x, [weight], y)
    try store(try products(x, weight, routing), in: y)
  }

  public func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws {
    try routing.requireRows("addExperts", rows: y, positions: x)
    let perRow = routing.rule.perRow
    let places = try integers(routing.places)
    let weights = try doubles(routing.weights)
    let outputs = try doubles(x)
    var sums = try doubles(y)
    let width = y.rowCount
    for row in 0..<routing.rows {
      for choice in row * perRow..<(row + 1) * perRow {
        for column in 0..<width {
          sums[row * width + column] +=
            weights[choice] * outputs[places[choice] * width + column]
        }
      }
    }
    try store(sums, in: y)
  }

  public func expertCounts(_ routing: ExpertRouting) throws -> [Int] {
    let offsets = try integers(routing.offsets)
    return zip(offsets.dropFirst(), offsets).map { $0 - $1 }
  }

  /// x[p] * transpose(matrix of p's expert) + its bias, all positions one after the other.
  private func products(
    _ x: Tensor, _ weights: ExpertWeights, _ routing: ExpertRouting
  ) throws -> [Double] {
    let experts = try integers(routing.experts)
    let bias = try weights.bias.map { try doubles($0.tensor(for: "expertLinear")) }
    var output: [Double] = []
    var matrix: (expert: Int, values: [Double])?
    for (position, expert) in experts.enumerated() {
      if matrix?.expert != expert {
        matrix = (expert, try doubles(weights.matrices[expert].tensor(for: "expertLinear")))
      }
      let input = try doubles(x.slice(rows: position..<position + 1))
      let values = matrix?.values ?? []
      for out in 0..<weights.outputs {
        var sum = bias?[expert * weights.outputs + out] ?? 0
        for k in 0..<weights.inputs { sum += input[k] * values[out * weights.inputs + k] }
        output.append(sum)
      }
    }
    return output
  }

  private func integers(_ tensor: Tensor) throws -> [Int] { try doubles(tensor).map { Int($0) } }
}

extension GatedActivation {
  /// What the definition says of one output of each.
  fileprivate func value(gate: Double, up: Double) -> Double {
    switch self {
    case .silu: return gate / (1 + exp(-gate)) * up
    case .clampedSwiGLU(let alpha, let limit):
      let limit = Double(limit)
      // Comparisons with NaN are false, so that it stays.
      let g = gate > limit ? limit : gate
      let u = up > limit ? limit : up < -limit ? -limit : up
      return (u + 1) * g / (1 + exp(-Double(alpha) * g))
    }
  }
}
