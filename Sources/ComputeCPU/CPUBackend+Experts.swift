internal import CKernels
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Mixtures of experts: the positions of each expert are rows of an ordinary linear layer.
extension CPUBackend {
  /// Matrices stay where they are mapped, one by one.
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
    let source = try logits.floats("route")
    let offsets = try bias.map { UnsafePointer(try $0.tensor(for: "route").floats("route")) }
    let weights = try routing.weights.floats("route")
    var chosen = [Int32](repeating: 0, count: routing.positions)
    chosen.withUnsafeMutableBufferPointer { chosen in
      nonisolated(unsafe) let chosen = chosen
      pool.split(routing.rows, minimum: 16) { rows in
        var choice = RowChoice(rule)
        for row in rows {
          choice.choose(source + row * rule.experts, offsets)
          for rank in 0..<rule.perRow {
            chosen[row * rule.perRow + rank] = Int32(choice.experts[rank])
            weights[row * rule.perRow + rank] = choice.weights[rank]
          }
        }
      }
    }
    let positions = ExpertPositions(chosen: chosen, perRow: rule.perRow, experts: rule.experts)
    for (values, tensor) in [
      (positions.places, routing.places), (positions.sources, routing.sources),
      (positions.experts, routing.experts), (positions.offsets, routing.offsets),
    ] {
      try values.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress else { return }
        try tensor.hostAddress.copyMemory(from: start, byteCount: bytes.count)
      }
    }
  }

  public func gatherRows(_ x: Tensor, by routing: ExpertRouting, into y: Tensor) throws {
    try routing.requireRows("gatherRows", rows: x, positions: y)
    try gatherRows(x, rows: try integers(routing.sources), into: y)
  }

  public func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, activation: GatedActivation,
    by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("gatedExperts", x, [gate, up], y)
    let ups = try makeTensor(.float32, y.shape, purpose: "activations of experts")
    try eachExpert(routing) { expert, positions in
      let input = x.slice(rows: positions)
      for (weights, output) in [(gate, y), (up, ups)] {
        try linear(
          input, weight: weights.matrices[expert], bias: weights.bias(ofExpert: expert),
          into: output.slice(rows: positions), accumulate: false)
      }
    }
    try activate(activation, gate: y, up: ups)
  }

  public func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("expertLinear", x, [weight], y)
    try eachExpert(routing) { expert, positions in
      try linear(
        x.slice(rows: positions), weight: weight.matrices[expert],
        bias: weight.bias(ofExpert: expert), into: y.slice(rows: positions), accumulate: false)
    }
  }

  public func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws {
    try routing.requireRows("addExperts", rows: y, positions: x)
    let perRow = routing.rule.perRow
    let width = y.rowCount
    let outputs = UnsafePointer(try x.floats("addExperts"))
    let target = try y.floats("addExperts")
    let weights = UnsafePointer(try routing.weights.floats("addExperts"))
    let places = try integers(routing.places)
    pool.split(routing.rows, minimum: max(1, (1 << 14) / max(1, width * perRow))) { rows in
      for row in rows {
        let sum = target + row * width
        for choice in row * perRow..<(row + 1) * perRow {
          let factor = weights[choice]
          let output = outputs + Int(places[choice]) * width
          for column in 0..<width { sum[column] += factor * output[column] }
        }
      }
    }
  }

  public func expertCounts(_ routing: ExpertRouting) throws -> [Int] {
    let offsets = try integers(routing.offsets)
    return zip(offsets.dropFirst(), offsets).map { Int($0 - $1) }
  }

  /// Experts with positions, in order.
  private func eachExpert(
    _ routing: ExpertRouting, _ body: (_ expert: Int, _ positions: Range<Int>) throws -> Void
  ) throws {
    let offsets = try integers(routing.offsets)
    for expert in 0..<routing.rule.experts where offsets[expert] < offsets[expert + 1] {
      try body(expert, Int(offsets[expert])..<Int(offsets[expert + 1]))
    }
  }

  private func integers(_ tensor: Tensor) throws -> [Int32] {
    guard tensor.type == .int32 else {
      throw ComputeError.shapeMismatch(
        operation: "routing", detail: "int32 expected, \(tensor.type) passed")
    }
    let start = try tensor.hostAddress.assumingMemoryBound(to: Int32.self)
    return Array(UnsafeBufferPointer(start: start, count: tensor.count))
  }
}

/// Chooses the experts of rows one after the other, in float32, as ``RoutingRule/choose(logits:bias:)``
/// defines it.
private struct RowChoice {
  let rule: RoutingRule
  /// Of the row that was chosen for last, the best first.
  private(set) var experts: [Int]
  private(set) var weights: [Float]
  private var scores: [Float]
  private var choices: [Float]

  init(_ rule: RoutingRule) {
    self.rule = rule
    experts = Array(repeating: 0, count: rule.perRow)
    weights = Array(repeating: 0, count: rule.perRow)
    scores = Array(repeating: 0, count: rule.experts)
    choices = scores
  }

  mutating func choose(_ logits: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?) {
    var total: Float = 1
    switch rule.score {
    case .softmax:
      var largest = -Float.infinity
      for expert in 0..<rule.experts {
        choices[expert] = logits[expert] + (bias?[expert] ?? 0)
        largest = max(largest, choices[expert])
      }
      total = 0
      for expert in 0..<rule.experts {
        scores[expert] = expf(choices[expert] - largest)
        total += scores[expert]
      }
    case .sigmoid:
      for expert in 0..<rule.experts {
        scores[expert] = 1 / (1 + expf(-logits[expert]))
        choices[expert] = scores[expert] + (bias?[expert] ?? 0)
      }
    }
    if rule.groups > 1 { leaveOutGroups() }
    var sum: Float = 0
    for rank in 0..<rule.perRow {
      var best = 0
      for expert in 1..<rule.experts where choices[expert] > choices[best] { best = expert }
      experts[rank] = best
      weights[rank] = scores[best] / total
      choices[best] = -.infinity
      sum += weights[rank]
    }
    let factor = rule.normalizes ? rule.scaling / (sum + 1e-20) : rule.scaling
    for rank in 0..<rule.perRow { weights[rank] *= factor }
  }

  private mutating func leaveOutGroups() {
    let size = rule.experts / rule.groups
    var sums = (0..<rule.groups).map { group in
      var (first, second) = (-Float.infinity, -Float.infinity)
      for choice in choices[group * size..<(group + 1) * size] {
        if choice > first {
          (first, second) = (choice, first)
        } else if choice > second {
          second = choice
        }
      }
      return first + second
    }
    var isLeftOut = [Bool](repeating: true, count: rule.groups)
    for _ in 0..<rule.chosenGroups {
      var best = 0
      for group in 1..<rule.groups where sums[group] > sums[best] { best = group }
      isLeftOut[best] = false
      sums[best] = -.infinity
    }
    for expert in 0..<rule.experts where isLeftOut[expert / size] { choices[expert] = -.infinity }
  }
}
