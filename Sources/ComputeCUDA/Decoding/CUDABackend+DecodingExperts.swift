internal import CUDASources
public import Compute

/// Experts of a decoding step: the router with the norm before it, the choice, gated products of each row's
/// experts, and their sum, in a launch each (`decoding_experts.cu`).
extension CUDABackend {
  public func addExperts(
    to hidden: Tensor, norm: RowNorm, experts: RoutedExperts, in space: ExpertPlaces
  ) throws {
    let routing = space.routing
    guard let type = decodingType(of: experts), hidden.type == .bfloat16,
      routing.positions <= ExpertLaunch.fewPositions
    else { return try addExpertsTogether(to: hidden, norm: norm, experts: experts, in: space) }
    // Routers read activations, whatever linear layers read.
    try normedLinear(
      hidden, norm: norm, normed: space.x,
      products: [RowProduct(weight: experts.router, bias: experts.routerBias, y: space.logits)])
    try route(space.logits, bias: experts.choiceBias, into: routing)
    try gate(hidden, norm: norm, experts: experts, type, by: routing, into: space.products)
    // From here on the rows may change.
    if let shared = experts.shared {
      let input = try gatedLinear(
        hidden, norm: norm, normed: space.normed, gate: shared.gate, up: shared.up,
        input: shared.input)
      try rowLinear(
        input, weight: shared.down, bias: shared.downBias, into: hidden, accumulate: true)
    }
    try addSum(of: space.products, down: experts.down, type, by: routing, to: hidden)
  }

  /// The type of weights that the kernels read; nil: they read others.
  private func decodingType(of experts: RoutedExperts) -> DataType? {
    let all = [experts.gate, experts.up, experts.down]
    guard case .dense(let type) = experts.gate.format, type == .bfloat16 || type == .float8,
      all.allSatisfy({
        $0.format == experts.gate.format && $0.inputs % (16 / type.byteCount) == 0
          && $0.matrices[0].blockScales == nil
          && ($0.matrices[0].scales != nil) == (type == .float8)
      })
    else { return nil }
    return type
  }

  private func gate(
    _ hidden: Tensor, norm: RowNorm, experts: RoutedExperts, _ type: DataType,
    by routing: ExpertRouting, into products: Tensor
  ) throws {
    let operation = "gatedExperts"
    let (gate, up) = (experts.gate, experts.up)
    try require(
      hidden.shape == [routing.rows, gate.inputs] && norm.weight.count == gate.inputs
        && products.rows == routing.positions && products.rowCount == gate.outputs
        && up.inputs == gate.inputs && up.outputs == gate.outputs
        && gate.count == routing.rule.experts && up.count == gate.count, operation,
      "rows \(hidden.shape), products \(products.shape), \(gate.count) experts of "
        + "\(gate.outputs) x \(gate.inputs)")
    var parameters = mi_decoding_experts()
    parameters.x = try address(hidden, .bfloat16, operation)
    parameters.norm = try address(norm.weight, .float32, operation)
    parameters.epsilon = norm.epsilon
    parameters.weight = try address(gate, operation)
    parameters.up = try address(up, operation)
    if type == .float8 {
      parameters.scales = try scalesAddress(gate, operation)
      parameters.up_scales = try scalesAddress(up, operation)
    }
    parameters.experts = try address(routing.experts, .int32, operation)
    parameters.sources = try address(routing.sources, .int32, operation)
    parameters.y = try address(products, .bfloat16, operation)
    parameters.inputs = Int32(gate.inputs)
    parameters.outputs = Int32(gate.outputs)
    parameters.per_row = Int32(routing.rule.perRow)
    try launch(
      "decoding_gated_experts", type, parameters, rows: routing.positions,
      shared: DecodingLaunch.expertBytes(inputs: gate.inputs, type))
  }

  private func addSum(
    of products: Tensor, down: ExpertWeights, _ type: DataType, by routing: ExpertRouting,
    to hidden: Tensor
  ) throws {
    let operation = "addExperts"
    try require(
      hidden.shape == [routing.rows, down.outputs] && products.rowCount == down.inputs
        && products.rows == routing.positions && down.count == routing.rule.experts, operation,
      "rows \(hidden.shape), products \(products.shape), \(down.count) experts of "
        + "\(down.outputs) x \(down.inputs)")
    var parameters = mi_decoding_experts()
    parameters.x = try address(products, .bfloat16, operation)
    parameters.weight = try address(down, operation)
    if type == .float8 { parameters.scales = try scalesAddress(down, operation) }
    parameters.experts = try address(routing.experts, .int32, operation)
    parameters.places = try address(routing.places, .int32, operation)
    parameters.factors = try address(routing.weights, .float32, operation)
    parameters.y = try address(hidden, .bfloat16, operation)
    parameters.inputs = Int32(down.inputs)
    parameters.outputs = Int32(down.outputs)
    parameters.per_row = Int32(routing.rule.perRow)
    try launch("decoding_expert_sum", type, parameters, rows: routing.rows, shared: 0)
  }

  private func launch(
    _ name: String, _ type: DataType, _ parameters: mi_decoding_experts, rows: Int, shared: Int
  ) throws {
    var arguments = KernelArguments()
    arguments.add(parameters)
    let warps = ElementwiseLaunch.threads / 32
    try kernel("\(name)_\(type == .float8 ? "fp8" : "bf16")", in: "decoding_experts.cu").launch(
      grid: ((Int(parameters.outputs) + warps - 1) / warps, rows, 1),
      block: ElementwiseLaunch.threads, shared: shared, overlapsPrevious: true, arguments)
  }
}

extension DecodingLaunch {
  /// Shared memory of a row that experts read, in whole lines of a warp.
  package static func expertBytes(inputs: Int, _ type: DataType) -> Int {
    let elements = 16 / type.byteCount
    let pieces = inputs / elements
    return (pieces + 31) / 32 * 32 * elements * 2
  }
}
