public import Compute

/// Linear layers in eight bits (`fp8_rows.cu` quantizes, cuBLASLt multiplies): rows of x and of the weight
/// are e4m3 with a float32 factor each, which the product is multiplied by.
extension CUDABackend {
  private static let file = "fp8_rows.cu"

  /// What cuBLASLt wants extents of float8 matrices to be multiples of.
  private static let grain = 16

  /// Rows of e4m3 with their factors, from a matrix in bfloat16.
  func quantizedWeight(_ matrix: Tensor) throws -> Weight {
    guard matrix.shape.count == 2, matrix.rows % Self.grain == 0, matrix.rowCount % Self.grain == 0
    else {
      throw ComputeError.unavailable(
        what: "a linear layer of \(matrix.shape) in fp8",
        remedy: Remedy("extents are multiples of \(Self.grain) there", use: .bfloat16Linear))
    }
    let values = try makeTensor(.float8, matrix.shape, purpose: "weights")
    let scales = try makeTensor(.float32, [matrix.rows], purpose: "weights")
    try quantize(
      matrix,
      into: QuantizedRows(
        values: address(values, "quantize"), scales: address(scales, "quantize")))
    return Weight(
      storage: values.buffer, format: .dense(.float8), scales: scales, shape: matrix.shape)
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

  func rmsNorm(_ x: Tensor, factors: UInt64, epsilon: Float, quantizedInto y: Tensor) throws {
    let rows = try quantizedRows(y, "rmsNorm")
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "rmsNorm"))
    arguments.add(factors)
    arguments.add(rows.values)
    arguments.add(rows.scales)
    arguments.add(Int32(x.rowCount))
    arguments.add(Int64(x.rowCount))
    arguments.add(epsilon)
    try launch("rms_norm_rows", rows: x.rows, width: x.rowCount, arguments)
  }

  func linearFloat8(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    var input = x
    if x.type != .float8 {
      input = try makeRows(x.shape, purpose: "a linear layer's input")
      try quantize(x, into: quantizedRows(input, "quantize"))
    }
    // Memory goes back to the pool behind the launch that uses it, not before.
    defer { withExtendedLifetime(input) {} }
    let rows = try quantizedRows(input, "linear")
    let matrix = try quantizedRows(weight)
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
      operands.bias = try biasAddress(bias, .bfloat16)
      return try linearLayers.multiply(shape, operands)
    }
    shape.hasBias = false
    try linearLayers.multiply(shape, operands)
    var arguments = KernelArguments()
    arguments.add(try address(y, .bfloat16, "linear"))
    arguments.add(try biasAddress(bias, .float32))
    arguments.add(Int32(y.rows))
    arguments.add(Int32(y.rowCount))
    arguments.add(Int64(y.rowCount))
    try kernel("add_bias", in: "elementwise.cu").launch(
      grid: (ElementwiseLaunch.blocks(y.count / 8), 1, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// Addresses of rows of float8 and of their factors.
  private struct QuantizedRows {
    var values: UInt64
    var scales: UInt64
  }

  /// Uninitialised rows of float8 with their factors, for what goes into linear layers.
  private func makeRows(_ shape: [Int], purpose: String) throws -> Tensor {
    let rows = shape.first ?? 1
    let memory = try DeviceMemory(
      shape.reduce(1, *), on: device, purpose: purpose,
      rowScales: makeTensor(.float32, [rows], purpose: purpose))
    return Tensor(buffer: memory, type: .float8, shape: shape)
  }

  private func quantize(_ x: Tensor, into rows: QuantizedRows) throws {
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "quantize"))
    arguments.add(rows.values)
    arguments.add(rows.scales)
    arguments.add(Int32(x.rowCount))
    arguments.add(Int64(x.rowCount))
    try launch("quantize_rows", rows: x.rows, width: x.rowCount, arguments)
  }

  /// Where an input's numbers and their rows' factors lie. Tensors are cut between rows alone.
  private func quantizedRows(_ tensor: Tensor, _ operation: String) throws -> QuantizedRows {
    guard tensor.type == .float8, let memory = tensor.buffer as? DeviceMemory,
      let scales = memory.rowScales
    else {
      throw ComputeError.shapeMismatch(
        operation: operation,
        detail: "\(tensor.type.rawValue) where rows of float8 are needed")
    }
    let first = tensor.byteOffset / max(1, tensor.rowCount)
    return QuantizedRows(
      values: try address(tensor, operation),
      scales: try address(scales, operation) + UInt64(4 * first))
  }

  private func quantizedRows(_ weight: Weight) throws -> QuantizedRows {
    guard weight.format == .dense(.float8), let scales = weight.scales else {
      throw ComputeError.shapeMismatch(
        operation: "linear", detail: "\(weight.format) where rows of float8 are needed")
    }
    let values = Tensor(
      buffer: weight.storage, byteOffset: weight.byteOffset, type: .float8, shape: weight.shape)
    return QuantizedRows(
      values: try address(values, "linear"), scales: try address(scales, "linear"))
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
