internal import CUDASources
public import Compute
internal import StoredNumbers

/// Products of rows with the matrices of their experts: of many rows tile by tile (`expert_products.cu`),
/// of few rows output by output. Which rows are whose is read on the device.
extension CUDABackend {
  private static let file = "expert_products.cu"

  // MARK: Weights

  /// The matrices one behind the other, in the form that ``prepare(_:as:)`` gives a matrix.
  public func prepareExperts(
    _ count: Int, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights {
    let first = try matrix(0)
    if linearPrecision == .bf16 {
      if case .blocks(let format) = first.format {
        guard (first.shape.last ?? 0) % format.elementsPerBlock == 0 else {
          throw ComputeError.shapeMismatch(
            operation: "prepareExperts",
            detail: "\(first.name) \(first.shape) in \(format.rawValue)")
        }
        let memory = try stackBytes(count, first) { try $0 == 0 ? first : matrix($0) }
        return ExpertWeights(
          stacked: Weight(storage: memory, format: first.format, shape: [count] + first.shape))
      }
      if let scales = first.scales {
        return try prepareFloat8Experts(count, first, scales, matrix)
      }
    }
    return try stack(count, shape: first.shape) { expert in
      try prepare(expert == 0 ? first : matrix(expert), as: .matrix)
    }
  }

  /// The bytes of all matrices one behind the other.
  ///
  /// - Parameter matrix: Called once for each expert, in ascending order.
  func stackBytes(
    _ count: Int, _ first: StoredTensor, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> DeviceMemory {
    let size = first.bytes.count
    let memory = try DeviceMemory(count * size, on: device, purpose: "weights")
    try device.activate()
    for expert in 0..<count {
      let stored = try matrix(expert)
      try require(
        stored.format == first.format && stored.shape == first.shape, "prepareExperts",
        "\(stored.name) \(stored.format) \(stored.shape) beside \(first.format) \(first.shape)")
      guard let start = stored.bytes.baseAddress else { continue }
      // From memory that is not page-locked the driver copies before it returns.
      try device.driver.check(
        "cuMemcpyHtoDAsync",
        device.driver.copyToDevice(
          memory.address + UInt64(expert * size), start, size, device.stream))
      try device.synchronize()
    }
    return memory
  }

  public func prepareExperts(_ numbers: Tensor) throws -> ExpertWeights {
    let matrices = try converted(numbers, to: .bfloat16)
    guard linearPrecision == .fp8 else { return ExpertWeights(stacked: Weight(matrices)) }
    return try stack(numbers.rows, shape: Array(numbers.shape.dropFirst())) { expert in
      try prepare(
        matrices.slice(rows: expert..<expert + 1).reshaped(Array(numbers.shape.dropFirst())),
        as: .matrix)
    }
  }

  /// Copies prepared dense matrices of one shape behind one another.
  private func stack(
    _ count: Int, shape: [Int], _ matrix: (_ expert: Int) throws -> Weight
  ) throws -> ExpertWeights {
    let isNarrow = linearPrecision == .fp8
    let values = try makeTensor(isNarrow ? .float8 : .bfloat16, [count] + shape, purpose: "weights")
    let scales =
      isNarrow ? try makeTensor(.float32, [count, shape[0]], purpose: "weights") : nil
    for expert in 0..<count {
      let prepared = try matrix(expert)
      try require(
        prepared.shape == shape && prepared.format == .dense(values.type), "prepareExperts",
        "an expert of \(prepared.format) \(prepared.shape) beside \(values.type) \(shape)")
      let target = values.slice(rows: expert..<expert + 1)
      try copy(
        Tensor(
          buffer: prepared.storage, byteOffset: prepared.byteOffset, type: values.type,
          shape: shape), to: target)
      if let scales, let own = prepared.scales {
        try copy(own, to: scales.slice(rows: expert..<expert + 1))
      }
    }
    return ExpertWeights(
      stacked: Weight(
        storage: values.buffer, format: .dense(values.type), scales: scales,
        shape: [count] + shape))
  }

  // MARK: Products

  public func gatedExperts(
    _ x: Tensor, gate: ExpertWeights, up: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("gatedExperts", x, [gate, up], y)
    try require(
      gate.format == up.format, "gatedExperts", "gates of \(gate.format), ups of \(up.format)")
    try multiply(x, gate, up, routing, y, "gatedExperts")
  }

  public func expertLinear(
    _ x: Tensor, weight: ExpertWeights, by routing: ExpertRouting, into y: Tensor
  ) throws {
    try routing.requireProduct("expertLinear", x, [weight], y)
    let isFew = routing.positions <= ExpertLaunch.fewPositions
    let isScaledByBlock = weight.matrices[0].blockScales != nil
    guard weight.format == .dense(.float8), !isScaledByBlock, x.type != .float8, !isFew else {
      return try multiply(x, weight, nil, routing, y, "expertLinear")
    }
    let input = try makeLinearInput(x.shape, purpose: "an expert's input")
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "quantize"))
    arguments.add(try address(input, "quantize"))
    arguments.add(try factors(of: input, "quantize"))
    arguments.add(Int32(x.rowCount))
    arguments.add(Int64(x.rowCount))
    try kernel("quantize_rows", in: "fp8_rows.cu").launch(
      grid: (x.rows, 1, 1), block: QuantizationLaunch.threads(width: x.rowCount), arguments)
    try multiply(input, weight, nil, routing, y, "expertLinear")
    // Memory goes back to the pool behind the launch that uses it, not before.
    withExtendedLifetime(input) {}
  }

  private func multiply(
    _ x: Tensor, _ weight: ExpertWeights, _ up: ExpertWeights?, _ routing: ExpertRouting,
    _ y: Tensor, _ operation: String
  ) throws {
    let grain = x.type == .float8 ? 16 : 8
    try require(
      x.rowCount % grain == 0 && y.rowCount % 8 == 0, operation,
      "x \(x.shape), y \(y.shape); widths are multiples of \(grain) on a GPU")
    guard routing.positions > 0 else { return }
    var product = mi_expert_product()
    product.x = try address(x, operation)
    product.y = try address(y, .bfloat16, operation)
    product.offsets = try address(routing.offsets, .int32, operation)
    product.experts = Int32(weight.count)
    product.outputs = Int32(weight.outputs)
    product.inputs = Int32(weight.inputs)
    if x.type == .float8 { product.x_scales = try factors(of: x, operation) }
    let isFew = routing.positions <= ExpertLaunch.fewPositions
    if let scales = weight.matrices[0].blockScales {
      try require(x.type == .bfloat16, operation, "x of \(x.type), experts of float8 blocks")
      guard isFew else {
        return try multiplyWidened(product, weight, up, routing, operation) {
          try dequantise(float8: $0, experts: $1, into: $2)
        }
      }
      return try multiplyFew(product, float8: weight, up, scales, routing, operation)
    }
    let name: String
    switch weight.format {
    case .dense(.bfloat16): name = "bf16"
    case .dense(.float8): name = "fp8"
    case .dense(let type):
      throw ComputeError.shapeMismatch(operation: operation, detail: "experts of \(type)")
    case .blocks(let format): name = format.kernelName
    }
    if case .blocks(let format) = weight.format, !isFew {
      return try multiplyWidened(product, weight, up, routing, operation) {
        weights, experts, target in
        try dequantise(
          try whole(weights, operation), format,
          rows: experts.lowerBound * weights.outputs..<experts.upperBound * weights.outputs,
          into: target)
      }
    }
    product.weight = try address(weight, operation)
    product.weight_scales = try scalesAddress(weight, operation)
    if let up {
      product.up = try address(up, operation)
      product.up_scales = try scalesAddress(up, operation)
    }
    guard isFew else {
      try require(
        (x.type == .float8) == (name == "fp8"), operation, "x of \(x.type), experts of \(name)")
      return try launchTiles(product, name, isGated: up != nil, positions: routing.positions)
    }
    var arguments = KernelArguments()
    arguments.add(product)
    arguments.add(try address(routing.experts, .int32, operation))
    let isBlocks = name != "bf16" && name != "fp8"
    try kernel(
      (up == nil ? "few_expert_linear_" : "few_gated_experts_") + name,
      in: isBlocks ? "expert_blocks.cu" : Self.file
    ).launch(
      grid: ((weight.outputs + 7) / 8, routing.positions, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// Experts that become bfloat16 first, as many at a time as scratch memory has room for.
  ///
  /// - Parameter widen: Writes the matrices of some experts, one behind the other.
  private func multiplyWidened(
    _ product: mi_expert_product, _ weight: ExpertWeights, _ up: ExpertWeights?,
    _ routing: ExpertRouting, _ operation: String,
    widen: (_ weights: ExpertWeights, _ experts: Range<Int>, _ target: Tensor) throws -> Void
  ) throws {
    let elements = weight.outputs * weight.inputs
    let parts = up == nil ? 1 : 2
    let atOnce = max(1, min(weight.count, Self.scratchElements / (parts * elements)))
    try withBlockScratch(elements: atOnce * parts * elements) { scratch in
      for first in stride(from: 0, to: weight.count, by: atOnce) {
        let count = min(atOnce, weight.count - first)
        var part = product
        part.weight = try address(scratch, .bfloat16, operation)
        part.up = part.weight + UInt64(count * elements * DataType.bfloat16.byteCount)
        part.offsets += UInt64(first * DataType.int32.byteCount)
        part.experts = Int32(count)
        for (index, weights) in [weight, up].compactMap({ $0 }).enumerated() {
          try widen(
            weights, first..<first + count,
            scratch.slice(rows: index * count * elements..<scratch.rows))
        }
        try launchTiles(part, "bf16", isGated: up != nil, positions: routing.positions)
      }
    }
  }

  private func launchTiles(
    _ product: mi_expert_product, _ name: String, isGated: Bool, positions: Int
  ) throws {
    if kernels == .hopper, hasHopperKernel {
      return try launchHopperTiles(product, name, isGated: isGated, positions: positions)
    }
    let columns = isGated ? ExpertLaunch.gatedTileOutputs : ExpertLaunch.tileOutputs
    var arguments = KernelArguments()
    arguments.add(product)
    try kernel((isGated ? "gated_experts_" : "expert_linear_") + name, in: Self.file).launch(
      grid: (
        (Int(product.outputs) + columns - 1) / columns,
        ExpertLaunch.mostTiles(positions: positions, experts: Int(product.experts)), 1
      ), block: ElementwiseLaunch.threads, shared: ExpertLaunch.sharedBytes, arguments)
  }

  /// The same by Hopper's own kernel: bulk tensor copies and warpgroup products.
  private func launchHopperTiles(
    _ product: mi_expert_product, _ name: String, isGated: Bool, positions: Int
  ) throws {
    let type = name == "fp8" ? DataType.float8 : .bfloat16
    let (inputs, outputs) = (Int(product.inputs), Int(product.outputs))
    let row = UInt64(inputs * type.byteCount)
    func map(_ address: UInt64, rows: Int, matrices: Int) throws -> mi_tensor_map {
      try tensorMap(
        address, sizes: [UInt64(inputs), UInt64(rows), UInt64(matrices)],
        strides: [row, row * UInt64(rows)],
        box: [UInt32(128 / type.byteCount), UInt32(ExpertLaunch.tileRows), 1], type: type)
    }
    let weights = try map(product.weight, rows: outputs, matrices: Int(product.experts))
    var arguments = KernelArguments()
    arguments.add(product)
    arguments.add(try map(product.x, rows: positions, matrices: 1))
    arguments.add(weights)
    arguments.add(
      isGated ? try map(product.up, rows: outputs, matrices: Int(product.experts)) : weights)
    try kernel(
      (isGated ? "gated_experts_" : "expert_linear_") + name, in: "expert_products_hopper.cu"
    ).launch(
      grid: (device.multiprocessors, 1, 1), block: ExpertLaunch.hopperThreads,
      shared: ExpertLaunch.hopperSharedBytes, arguments)
  }

  // MARK: Addresses

  /// All experts as one matrix, [experts * out, in]: they lie one behind the other.
  private func whole(_ weights: ExpertWeights, _ operation: String) throws -> Weight {
    let first = weights.matrices[0]
    let last = weights.matrices[weights.count - 1]
    let bytes = (first.format.rowByteCount(first.rowCount) ?? 0) * first.rows
    try require(
      last.storage === first.storage
        && last.byteOffset - first.byteOffset == (weights.count - 1) * bytes,
      operation, "experts that this backend did not prepare together")
    return Weight(
      storage: first.storage, byteOffset: first.byteOffset, format: first.format,
      shape: [weights.count * first.rows, first.rowCount])
  }

  func address(_ weights: ExpertWeights, _ operation: String) throws -> UInt64 {
    let whole = try whole(weights, operation)
    guard let memory = whole.storage as? DeviceMemory, memory.device === device else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "experts belong to another device")
    }
    return memory.address + UInt64(whole.byteOffset)
  }

  /// Of the factors of all experts' outputs; zero where there are none.
  func scalesAddress(_ weights: ExpertWeights, _ operation: String) throws -> UInt64 {
    guard weights.format == .dense(.float8) else { return 0 }
    guard let scales = weights.matrices[0].scales else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "experts of float8 without factors")
    }
    return try address(scales, .float32, operation)
  }
}
