public import Compute

extension CUDABackend {
  private static let file = "elementwise.cu"

  public func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    try require(
      table.shape.count == 2 && x.shape == [ids.count, table.shape[1]]
        && table.shape[1] % 8 == 0
        && ids.allSatisfy { (0..<Int32(table.rows)).contains($0) }, "embed",
      "\(ids.count) ids, table \(table.shape), x \(x.shape); widths are multiples of 8 on a GPU")
    let uploaded = try device.step.map { try $0.ids(of: ids) } ?? makeIDs(ids)
    if case .blocks(let format) = table.format {
      return try embed(uploaded: uploaded, blocks: table, format, into: x)
    }
    try embed(uploaded: uploaded, table: table.tensor(for: "embed"), into: x)
  }

  /// The same for ids that are on the device and known to be rows of the table.
  package func embed(uploaded ids: Tensor, table: Tensor, into x: Tensor) throws {
    var arguments = KernelArguments()
    arguments.add(try address(ids, .int32, "embed"))
    arguments.add(try address(table, .bfloat16, "embed"))
    arguments.add(try address(x, .bfloat16, "embed"))
    arguments.add(Int32(x.rows))
    arguments.add(Int32(table.shape[1]))
    try kernel("embed", in: Self.file).launch(
      grid: ((x.rows + EmbeddingLaunch.rows - 1) / EmbeddingLaunch.rows, 1, 1),
      block: ElementwiseLaunch.threads, arguments)
  }

  public func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    let width = x.rowCount
    try require(
      x.shape == y.shape && weight.count == width && width % 8 == 0, "rmsNorm",
      "x \(x.shape), weight \(weight.shape), y \(y.shape); widths are multiples of 8 on a GPU")
    let factors = try address(weight, .float32, "rmsNorm")
    guard y.type != .float8 else {
      return try rmsNorm(x, factors: factors, epsilon: epsilon, quantizedInto: y)
    }
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "rmsNorm"))
    arguments.add(factors)
    arguments.add(try address(y, .bfloat16, "rmsNorm"))
    arguments.add(Int32(x.rows))
    arguments.add(Int32(width))
    if width <= NormLaunch.narrow {
      let lanes = NormLaunch.lanes(width: width)
      arguments.add(epsilon)
      arguments.add(Int32(lanes))
      return try kernel("rms_norm_narrow", in: Self.file).launch(
        grid: (ElementwiseLaunch.blocks(x.rows * lanes), 1, 1), block: ElementwiseLaunch.threads,
        arguments)
    }
    arguments.add(Int64(width))
    arguments.add(Int64(width))
    arguments.add(epsilon)
    try kernel("rms_norm", in: Self.file).launch(
      grid: (x.rows, 1, 1), block: NormLaunch.threads(width: width), arguments)
  }

  public func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try require(
      x.shape.count == 2 && weight.shape.count == 2 && y.shape.count == 2
        && x.shape[1] == weight.shape[1] && y.shape == [x.rows, weight.rows]
        && bias?.count ?? weight.rows == weight.rows
        && (y.type == .bfloat16 || y.type == .float32), "linear",
      "x \(x.shape), weight \(weight.shape), y \(y.shape)")
    guard x.rows > 0 else { return }
    if case .blocks(let format) = weight.format {
      return try linear(
        x, blocks: weight, format, bias: bias, into: y, accumulate: accumulate)
    }
    if weight.blockScales != nil {
      return try linear(x, float8: weight, bias: bias, into: y, accumulate: accumulate)
    }
    if weight.format == .dense(.float8) || x.type == .float8 {
      return try linearFloat8(x, weight: weight, bias: bias, into: y, accumulate: accumulate)
    }
    let input = try address(x, .bfloat16, "linear")
    let output = try address(y, "linear")
    let matrix = try address(weight, .bfloat16, "linear")
    // The product adds a bias in its epilogue, in bfloat16, which biases are published in.
    let added = try bias.map { try biasAddress($0, .bfloat16) }
    let shape = LinearLayers.Shape(
      rows: x.rows, outputs: weight.rows, inputs: weight.shape[1], inputStride: x.shape[1],
      outputStride: weight.rows, output: y.type, accumulate: accumulate, hasBias: bias != nil,
      alignment: LinearLayers.alignment(of: [input, output, matrix]))
    try linearLayers.multiply(
      shape, LinearLayers.Operands(x: input, weight: matrix, y: output, bias: added))
  }

  public func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    let pairs = rotary.inverseFrequencies.count
    try require(
      x.shape.count == 3 && 2 * pairs <= x.shape[2] && x.shape[2] % 8 == 0, "rotate",
      "x \(x.shape), \(pairs) pairs; head sizes are multiples of 8 on a GPU")
    let frequencies = try frequencies(rotary.inverseFrequencies)
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "rotate"))
    arguments.add(try address(frequencies, "rotate"))
    arguments.add(Int32(x.rows))
    arguments.add(Int32(x.shape[1]))
    arguments.add(Int32(x.shape[2]))
    arguments.add(Int32(pairs))
    arguments.add(Int64(x.rowCount))
    // Within a step the position is on the device.
    let position = try device.step?.onlyPositionAddress(rows: x.rows)
    arguments.add(position == nil ? Int32(firstPosition) : 0)
    arguments.add(rotary.attentionScaling)
    arguments.add(Int32(rotary.layout == .interleaved ? 1 : 0))
    arguments.add(position ?? 0)
    try kernel("rotate", in: Self.file).launch(
      grid: ((x.rows + RotationLaunch.rows - 1) / RotationLaunch.rows, 1, 1),
      block: ElementwiseLaunch.threads, arguments)
  }

  public func add(_ x: Tensor, to y: Tensor) throws {
    try require(x.shape == y.shape, "add", "x \(x.shape), y \(y.shape)")
    var arguments = KernelArguments()
    arguments.add(try address(y, .bfloat16, "add"))
    arguments.add(try address(x, .bfloat16, "add"))
    arguments.add(Int64(x.count))
    try kernel("add", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(x.count / 8 + 1), 1, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  public func swiGLU(gate: Tensor, up: Tensor) throws {
    let width = gate.rowCount
    try require(
      gate.shape == up.shape && width % 8 == 0, "swiGLU",
      "gate \(gate.shape), up \(up.shape); widths are multiples of 8 on a GPU")
    let target = try address(gate, .bfloat16, "swiGLU")
    var arguments = KernelArguments()
    arguments.add(target)
    arguments.add(try address(up, .bfloat16, "swiGLU"))
    arguments.add(target)
    arguments.add(Int32(gate.rows))
    arguments.add(Int32(width))
    for _ in 0..<3 { arguments.add(Int64(width)) }
    try kernel("swiglu", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(gate.count / 8), 1, 1), block: ElementwiseLaunch.threads,
      arguments)
  }
}

/// Geometry of `embed`.
package enum EmbeddingLaunch {
  /// Rows in a thread block, a warp each.
  package static let rows = 8
}

/// Geometry of `rms_norm` and `rms_norm_narrow`.
package enum NormLaunch {
  /// The widest row of `rms_norm_narrow`.
  package static let narrow = 1024

  /// Threads that norm a narrow row: the power of two at or above width / 8, at most a warp.
  package static func lanes(width: Int) -> Int {
    var lanes = 1
    while lanes < 32, lanes * 8 < width { lanes *= 2 }
    return lanes
  }

  /// Sixteen elements a thread, in whole warps.
  static func threads(width: Int) -> Int { max(32, min(256, (width / 16 + 31) / 32 * 32)) }
}

/// Geometry of `rotate`.
enum RotationLaunch {
  /// Rows of activations in a thread block.
  static let rows = 4
}
