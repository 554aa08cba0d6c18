public import Compute

/// Linear layers in eight bits (`fp8_rows.cu` quantizes, cuBLASLt multiplies): rows of x and of the weight
/// are e4m3 with a float32 factor each, which the product is multiplied by.
extension CUDABackend {
  private static let file = "fp8_rows.cu"

  /// What cuBLASLt wants extents of float8 matrices to be multiples of.
  private static let grain = 16

  public func makeLinearWeight(_ weight: Tensor) throws -> Tensor {
    guard linearPrecision == .fp8 else { return weight }
    guard weight.shape.count == 2, weight.rows % Self.grain == 0, weight.rowCount % Self.grain == 0
    else {
      throw ComputeError.unavailable(
        what: "a linear layer of \(weight.shape) in fp8",
        remedy: "extents are multiples of \(Self.grain) there; leave out --linear fp8")
    }
    let quantized = try makeRows(weight.shape, purpose: "weights")
    try quantize(weight, into: quantized)
    return quantized
  }

  public func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    linearPrecision == .fp8
      ? try makeRows(shape, purpose: purpose)
      : try makeTensor(activationType, shape, purpose: purpose)
  }

  public func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    let width = gate.rowCount
    try require(
      gate.shape == up.shape && input.shape == gate.shape && width % 8 == 0, "swiGLU",
      "gate \(gate.shape), up \(up.shape), into \(input.shape); widths are multiples of 8 on a GPU")
    let rows = try quantizedRows(input, "swiGLU")
    var arguments = KernelArguments()
    arguments.add(try address(gate, .bfloat16, "swiGLU"))
    arguments.add(try address(up, .bfloat16, "swiGLU"))
    arguments.add(rows.values)
    arguments.add(rows.scales)
    arguments.add(Int32(width))
    arguments.add(Int64(width))
    arguments.add(Int64(width))
    try launch("swiglu_rows", rows: gate.rows, width: width, arguments)
  }

  func rmsNorm(_ x: Tensor, factors: Tensor, epsilon: Float, quantizedInto y: Tensor) throws {
    let rows = try quantizedRows(y, "rmsNorm")
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "rmsNorm"))
    arguments.add(try address(factors, .float32, "rmsNorm"))
    arguments.add(rows.values)
    arguments.add(rows.scales)
    arguments.add(Int32(x.rowCount))
    arguments.add(Int64(x.rowCount))
    arguments.add(epsilon)
    try launch("rms_norm_rows", rows: x.rows, width: x.rowCount, arguments)
  }

  func linearFloat8(
    _ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool
  ) throws {
    var input = x
    if x.type != .float8 {
      input = try makeRows(x.shape, purpose: "a linear layer's input")
      try quantize(x, into: input)
    }
    // Memory goes back to the pool behind the launch that uses it, not before.
    defer { withExtendedLifetime(input) {} }
    let rows = try quantizedRows(input, "linear")
    let matrix = try quantizedRows(weight, "linear")
    let output = try address(y, "linear")
    var shape = LinearLayers.Shape(
      rows: x.rows, outputs: weight.rows, inputs: weight.shape[1], inputStride: x.shape[1],
      outputStride: weight.rows, input: .float8, output: y.type, accumulate: accumulate,
      hasBias: bias != nil,
      alignment: LinearLayers.alignment(of: [rows.values, output, matrix.values]))
    var operands = LinearLayers.Operands(
      x: rows.values, weight: matrix.values, y: output, xScales: rows.scales,
      weightScales: matrix.scales)
    guard let bias else { return try linearLayers.multiply(shape, operands) }
    // The library has no such epilogue for some shapes of few rows.
    if try linearLayers.computes(shape) {
      operands.bias = try address(twin(of: bias, .bfloat16), "linear")
      return try linearLayers.multiply(shape, operands)
    }
    shape.hasBias = false
    try linearLayers.multiply(shape, operands)
    var arguments = KernelArguments()
    arguments.add(try address(y, .bfloat16, "linear"))
    arguments.add(try address(twin(of: bias, .float32), "linear"))
    arguments.add(Int32(y.rows))
    arguments.add(Int32(y.rowCount))
    arguments.add(Int64(y.rowCount))
    try kernel("add_bias", in: "elementwise.cu").launch(
      grid: (ElementwiseLaunch.blocks(y.count / 8), 1, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// Uninitialised rows of float8 with their factors.
  private func makeRows(_ shape: [Int], purpose: String) throws -> Tensor {
    let rows = try makeTensor(.float8, shape, purpose: purpose)
    let scales = try makeTensor(.float32, [shape.first ?? 1], purpose: purpose)
    (rows.buffer as? DeviceMemory)?.rowScales = scales
    return rows
  }

  private func quantize(_ x: Tensor, into y: Tensor) throws {
    let rows = try quantizedRows(y, "quantize")
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "quantize"))
    arguments.add(rows.values)
    arguments.add(rows.scales)
    arguments.add(Int32(x.rowCount))
    arguments.add(Int64(x.rowCount))
    try launch("quantize_rows", rows: x.rows, width: x.rowCount, arguments)
  }

  /// Where a tensor's numbers and their rows' factors lie. Tensors are cut between rows alone.
  private func quantizedRows(
    _ tensor: Tensor, _ operation: String
  ) throws -> (values: UInt64, scales: UInt64) {
    guard tensor.type == .float8, let memory = tensor.buffer as? DeviceMemory,
      let scales = memory.rowScales
    else {
      throw ComputeError.shapeMismatch(
        operation: operation,
        detail: "\(tensor.type.rawValue) where rows of float8 are needed")
    }
    let first = tensor.byteOffset / max(1, tensor.rowCount)
    return (try address(tensor, operation), try address(scales, operation) + UInt64(4 * first))
  }

  private func launch(
    _ name: String, rows: Int, width: Int, _ arguments: KernelArguments
  ) throws {
    try kernel(name, in: Self.file).launch(
      grid: (rows, 1, 1), block: QuantizationLaunch.threads(width: width), arguments)
  }
}

/// Geometry of `fp8_rows.cu`.
package enum QuantizationLaunch {
  /// Thirty-two elements a thread, in whole warps.
  package static func threads(width: Int) -> Int {
    max(32, min(1024, (width / 32 + 31) / 32 * 32))
  }
}
