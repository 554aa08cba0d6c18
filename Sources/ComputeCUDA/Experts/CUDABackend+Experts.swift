internal import CUDASources
public import Compute

/// Routing of rows to experts (`experts.cu`). Nothing of it is read by the host.
extension CUDABackend {
  private static let file = "experts.cu"

  public func route(_ logits: Tensor, bias: Weight?, into routing: ExpertRouting) throws {
    try routing.require(logits: logits, bias: bias)
    let rule = routing.rule
    try require(
      rule.groups <= ExpertLaunch.mostGroups, "route",
      "\(rule.groups) groups of experts; a GPU takes \(ExpertLaunch.mostGroups)")
    guard routing.rows > 0 else { return }
    var arguments = KernelArguments()
    arguments.add(try address(logits, .float32, "route"))
    arguments.add(try bias.map { try address($0, .float32, "route") } ?? 0)
    arguments.add(
      mi_expert_rule(
        experts: Int32(rule.experts), per_row: Int32(rule.perRow),
        is_sigmoid: rule.score == .sigmoid ? 1 : 0, groups: Int32(rule.groups),
        chosen_groups: Int32(rule.chosenGroups), normalizes: rule.normalizes ? 1 : 0,
        scaling: rule.scaling))
    arguments.add(Int32(routing.rows))
    let weights = try address(routing.weights, .float32, "route")
    let order = try [routing.places, routing.sources, routing.experts, routing.offsets].map {
      try address($0, .int32, "route")
    }
    guard routing.positions > ExpertLaunch.fewChoices else {
      order.forEach { arguments.add($0) }
      arguments.add(weights)
      return try kernel("route_few", in: Self.file).launch(
        grid: (1, 1, 1), block: ElementwiseLaunch.threads, arguments)
    }
    let chosen = try makeTensor(.int32, [routing.positions], purpose: "chosen experts")
    let counts = try makeTensor(.int32, [rule.experts], purpose: "chosen experts")
    let choices = try address(chosen, "route")
    arguments.add(choices)
    arguments.add(weights)
    try kernel("choose_experts", in: Self.file).launch(
      grid: ((routing.rows + 7) / 8, 1, 1), block: ElementwiseLaunch.threads, arguments)
    arguments = KernelArguments()
    arguments.add(choices)
    arguments.add(Int32(routing.positions))
    arguments.add(try address(counts, "route"))
    try kernel("count_experts", in: Self.file).launch(
      grid: (rule.experts, 1, 1), block: ElementwiseLaunch.threads, arguments)
    arguments = KernelArguments()
    arguments.add(choices)
    arguments.add(Int32(routing.positions))
    arguments.add(Int32(rule.perRow))
    arguments.add(try address(counts, "route"))
    order.forEach { arguments.add($0) }
    try kernel("order_positions", in: Self.file).launch(
      grid: (rule.experts, 1, 1), block: ElementwiseLaunch.threads, arguments)
    // Memory goes back to the pool behind the launches that use it, not before.
    withExtendedLifetime((chosen, counts)) {}
  }

  /// Rows of bfloat16, or of float8 with their factors.
  public func gatherRows(_ x: Tensor, by routing: ExpertRouting, into y: Tensor) throws {
    try routing.requireRows("gatherRows", rows: x, positions: y)
    try require(
      x.type == y.type && x.rowCount * x.type.byteCount % 16 == 0, "gatherRows",
      "\(x.type) \(x.shape) into \(y.type) \(y.shape); rows are multiples of 16 bytes on a GPU")
    guard routing.positions > 0 else { return }
    let sources = try address(routing.sources, .int32, "gatherRows")
    var arguments = KernelArguments()
    arguments.add(sources)
    arguments.add(try address(x, "gatherRows"))
    arguments.add(try address(y, "gatherRows"))
    arguments.add(Int32(routing.positions))
    // Units of two bytes.
    arguments.add(Int32(x.rowCount * x.type.byteCount / 2))
    try kernel("embed", in: "elementwise.cu").launch(
      grid: ((routing.positions + EmbeddingLaunch.rows - 1) / EmbeddingLaunch.rows, 1, 1),
      block: ElementwiseLaunch.threads, arguments)
    guard x.type == .float8 else { return }
    arguments = KernelArguments()
    arguments.add(try factors(of: x, "gatherRows"))
    arguments.add(sources)
    arguments.add(try factors(of: y, "gatherRows"))
    arguments.add(Int32(routing.positions))
    try kernel("gather_factors", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(routing.positions), 1, 1),
      block: ElementwiseLaunch.threads, arguments)
  }

  public func addExperts(_ x: Tensor, by routing: ExpertRouting, to y: Tensor) throws {
    try routing.requireRows("addExperts", rows: y, positions: x)
    try require(
      y.rowCount % 8 == 0, "addExperts", "y \(y.shape); widths are multiples of 8 on a GPU")
    guard routing.rows > 0 else { return }
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "addExperts"))
    arguments.add(try address(routing.places, .int32, "addExperts"))
    arguments.add(try address(routing.weights, .float32, "addExperts"))
    arguments.add(try address(y, .bfloat16, "addExperts"))
    arguments.add(Int32(routing.rule.perRow))
    arguments.add(Int32(y.rowCount))
    try kernel("add_experts", in: Self.file).launch(
      grid: (routing.rows, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  public func expertCounts(_ routing: ExpertRouting) throws -> [Int] {
    let offsets: [Int32] = try values(of: routing.offsets)
    return zip(offsets.dropFirst(), offsets).map { Int($0 - $1) }
  }

  /// Where the factors of rows of float8 lie. Tensors are cut between rows alone.
  func factors(of rows: Tensor, _ operation: String) throws -> UInt64 {
    guard rows.type == .float8, let memory = rows.buffer as? DeviceMemory,
      let scales = memory.rowScales
    else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "\(rows.type) where rows of float8 are needed")
    }
    let first = rows.byteOffset / max(1, rows.rowCount)
    return try address(scales, operation) + UInt64(4 * first)
  }
}

/// Geometry of `experts.cu` and `expert_products.cu`.
package enum ExpertLaunch {
  /// Choices that one thread block orders.
  package static let fewChoices = 256
  /// Groups that a warp chooses from.
  package static let mostGroups = 32
  /// Positions up to which weights are read by rows of one output.
  package static let fewPositions = 64
  /// Rows of a tile.
  package static let tileRows = 128
  /// Outputs of a tile.
  package static let tileOutputs = 128
  /// Outputs of a tile of gate and up together.
  package static let gatedTileOutputs = 64
  /// Three stages of two operands.
  package static let sharedBytes = 3 * 2 * 128 * 128

  /// Of `expert_products_hopper.cu`: a warpgroup that copies and two that compute.
  package static let hopperThreads = 384
  /// Four stages of three operands, aligned to 1024 bytes, and their barriers.
  package static let hopperSharedBytes = 4 * 3 * 128 * 128 + 1024 + 128

  /// At least the tiles of all experts together: each may have one that is not full.
  package static func mostTiles(positions: Int, experts: Int) -> Int {
    positions / tileRows + min(positions, experts)
  }
}
