import Compute
internal import StoredNumbers

/// Matrices in blocks: they stay in the GPU's memory as the file has them. Products of few rows read
/// them as they are; for more rows a matrix becomes bfloat16 in scratch memory that the next one uses again.
extension CUDABackend {
  private static let file = "dequantise.cu"
  /// Rows that the kernel for few rows takes; as in dequantise.cu.
  static let fewRows = 8
  /// Elements of a matrix that are made bfloat16 at once: an output layer is done in parts.
  static let scratchElements = 1 << 26

  /// The blocks on the device, or numbers of the role's type where it is not multiplied by.
  func prepareBlocks(
    _ stored: StoredTensor, _ format: BlockFormat, as role: WeightRole
  ) throws -> Weight {
    guard (stored.shape.last ?? 0) % format.elementsPerBlock == 0 else {
      throw ComputeError.shapeMismatch(
        operation: "prepare", detail: "\(stored.name) \(stored.shape) in \(format.rawValue)")
    }
    let memory = try DeviceMemory(stored.bytes.count, on: device, purpose: "weights")
    try device.activate()
    if let start = stored.bytes.baseAddress, stored.bytes.count > 0 {
      // From memory that is not page-locked the driver copies before it returns.
      try device.driver.check(
        "cuMemcpyHtoDAsync",
        device.driver.copyToDevice(memory.address, start, stored.bytes.count, device.stream))
      try device.synchronize()
    }
    let weight = Weight(storage: memory, format: stored.format, shape: stored.shape)
    switch role {
    case .vocabulary: return weight
    case .matrix where linearPrecision == .bf16: return weight
    case .matrix, .norm, .bias:
      let numbers = try makeTensor(.bfloat16, stored.shape, purpose: "weights")
      try dequantise(weight, format, rows: 0..<weight.rows, into: numbers)
      return try prepare(numbers, as: role)
    }
  }

  /// As ``linear(_:weight:bias:into:accumulate:)``, for a weight in blocks.
  func linear(
    _ x: Tensor, blocks weight: Weight, _ format: BlockFormat, bias: Weight?, into y: Tensor,
    accumulate: Bool
  ) throws {
    if x.rows == 1 {
      return try rowLinear(x, weight, format, bias: bias, into: y, accumulate: accumulate)
    }
    guard x.rows > Self.fewRows else {
      return try fewRowsLinear(
        x, weight, format, bias: bias, into: y, accumulate: accumulate)
    }
    try linear(x, bfloat16RowsOf: weight, bias: bias, into: y, accumulate: accumulate) {
      try dequantise(weight, format, rows: $0, into: $1)
    }
  }

  /// A product of many rows with a weight that is made bfloat16 first, in scratch memory.
  ///
  /// - Parameter widen: Writes rows of the weight as bfloat16 to the start of a tensor.
  func linear(
    _ x: Tensor, bfloat16RowsOf weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool,
    widen: (_ rows: Range<Int>, _ target: Tensor) throws -> Void
  ) throws {
    let width = weight.rowCount
    let atOnce = min(weight.rows, max(8, Self.scratchElements / width / 8 * 8))
    let input = try address(x, .bfloat16, "linear")
    let output = try address(y, "linear")
    let added = try bias.map { try biasAddress($0, .bfloat16) }
    // Whoever works on another sequence waits until this matrix's product is given to the device.
    try withBlockScratch(elements: atOnce * width) { scratch in
      let matrix = try address(scratch, .bfloat16, "linear")
      for first in stride(from: 0, to: weight.rows, by: atOnce) {
        let rows = first..<min(first + atOnce, weight.rows)
        try widen(rows, scratch)
        let target = output + UInt64(first * y.type.byteCount)
        let offset = added.map { $0 + UInt64(first * DataType.bfloat16.byteCount) }
        let shape = LinearLayers.Shape(
          rows: x.rows, outputs: rows.count, inputs: width, inputStride: width,
          outputStride: weight.rows, output: y.type, accumulate: accumulate,
          hasBias: bias != nil, alignment: LinearLayers.alignment(of: [input, target, matrix]))
        try linearLayers.multiply(
          shape, LinearLayers.Operands(x: input, weight: matrix, y: target, bias: offset))
      }
    }
  }

  /// x[r] = table[ids[r]], of a table in blocks, for ids that are rows of it.
  func embed(
    uploaded ids: Tensor, blocks table: Weight, _ format: BlockFormat, into x: Tensor
  ) throws {
    var arguments = KernelArguments()
    arguments.add(try address(ids, .int32, "embed"))
    arguments.add(try blockAddress(table))
    arguments.add(try address(x, .bfloat16, "embed"))
    arguments.add(Int32(table.rowCount))
    try kernel("embed_" + format.kernelName, in: Self.file, for: format).launch(
      grid: (x.rows, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  private func fewRowsLinear(
    _ x: Tensor, _ weight: Weight, _ format: BlockFormat, bias: Weight?, into y: Tensor,
    accumulate: Bool
  ) throws {
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "linear"))
    arguments.add(try blockAddress(weight))
    arguments.add(try bias.map { try biasAddress($0, .float32) } ?? 0)
    arguments.add(try address(y, "linear"))
    arguments.add(Int32(x.rows))
    arguments.add(Int32(weight.rowCount))
    arguments.add(Int32(weight.rows))
    arguments.add(Int32(accumulate ? 1 : 0))
    arguments.add(Int32(y.type == .float32 ? 1 : 0))
    let warps = ElementwiseLaunch.threads / 32
    try kernel("linear_" + format.kernelName, in: Self.file, for: format).launch(
      grid: ((weight.rows + warps - 1) / warps, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  /// The same for one row, which the kernel makes int8 first.
  private func rowLinear(
    _ x: Tensor, _ weight: Weight, _ format: BlockFormat, bias: Weight?, into y: Tensor,
    accumulate: Bool
  ) throws {
    let width = weight.rowCount
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "linear"))
    arguments.add(try blockAddress(weight))
    arguments.add(try bias.map { try biasAddress($0, .float32) } ?? 0)
    arguments.add(try address(y, "linear"))
    arguments.add(Int32(width))
    arguments.add(Int32(weight.rows))
    arguments.add(Int32(accumulate ? 1 : 0))
    arguments.add(Int32(y.type == .float32 ? 1 : 0))
    let warps = ElementwiseLaunch.threads / 32
    // As many blocks as run at once: each makes the row int8 for itself.
    let blocks = min((weight.rows + warps - 1) / warps, 8 * device.multiprocessors)
    try kernel("row_" + format.kernelName, in: "block_row.cu", for: format).launch(
      grid: (blocks, 1, 1), block: ElementwiseLaunch.threads,
      shared: width + width / 8 + width / 4, arguments)
  }

  /// Rows of a weight as bfloat16, into the start of a tensor.
  func dequantise(
    _ weight: Weight, _ format: BlockFormat, rows: Range<Int>, into target: Tensor
  ) throws {
    let groups = rows.count * weight.rowCount / 8
    let rowBytes = format.rowByteCount(weight.rowCount) ?? 0
    var arguments = KernelArguments()
    arguments.add(try blockAddress(weight) + UInt64(rows.lowerBound * rowBytes))
    arguments.add(try address(target, .bfloat16, "dequantise"))
    arguments.add(Int64(groups))
    try kernel("dequantise_" + format.kernelName, in: Self.file, for: format).launch(
      grid: (ElementwiseLaunch.blocks(groups), 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  func blockAddress(_ weight: Weight) throws -> UInt64 {
    guard let memory = weight.storage as? DeviceMemory, memory.device === device else {
      throw ComputeError.shapeMismatch(
        operation: "linear", detail: "a weight belongs to another device")
    }
    return memory.address + UInt64(weight.byteOffset)
  }
}

extension BlockFormat {
  /// As the kernels of dequantise.cu spell it.
  var kernelName: String { rawValue.lowercased() }
}
