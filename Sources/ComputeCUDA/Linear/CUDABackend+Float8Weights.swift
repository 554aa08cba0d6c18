import Compute

/// Matrices of float8 with a scale for each block: they stay in the GPU's memory as the file has them. Products
/// of few rows read them as they are; for more rows a matrix becomes bfloat16 in scratch memory.
extension CUDABackend {
  private static let file = "float8_blocks.cu"

  /// The bytes and their scales on the device, or rows with a factor each where linear layers multiply those.
  func prepareFloat8(_ stored: StoredTensor, _ scales: StoredScales) throws -> Weight {
    let (rows, width) = (stored.shape[0], stored.shape[1])
    guard width % 8 == 0, scales.columns % 8 == 0 || scales.columns >= width else {
      throw ComputeError.unavailable(
        what: "weights of float8 \(stored.shape) (\(stored.name)) with scales for "
          + "\(scales.columns) columns on a GPU",
        remedy: Remedy("a GPU takes multiples of 8", use: .processor))
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
    let values = try makeTensor(.float32, [scales.values.count], purpose: "weights")
    try write(scales.values, to: values)
    let weight = Weight(
      storage: memory, format: stored.format,
      blockScales: BlockScales(values: values, rows: scales.rows, columns: scales.columns),
      shape: stored.shape)
    guard linearPrecision == .fp8 else { return weight }
    let numbers = try makeTensor(.bfloat16, stored.shape, purpose: "weights")
    try dequantise(float8: weight, rows: 0..<rows, into: numbers)
    return try prepare(numbers, as: .matrix)
  }

  /// As ``linear(_:weight:bias:into:accumulate:)``, for a weight of float8 with a scale for each block.
  func linear(
    _ x: Tensor, float8 weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    guard x.rows <= Self.fewRows else {
      return try linear(
        x, bfloat16RowsOf: weight, bias: bias, into: y, accumulate: accumulate
      ) { try dequantise(float8: weight, rows: $0, into: $1) }
    }
    var arguments = KernelArguments()
    arguments.add(try address(x, .bfloat16, "linear"))
    arguments.add(try blockAddress(weight))
    arguments.add(try bias.map { try biasAddress($0, .float32) } ?? 0)
    arguments.add(try address(y, "linear"))
    for value in [x.rows, weight.rowCount, weight.rows] { arguments.add(Int32(value)) }
    arguments.add(Int32(accumulate ? 1 : 0))
    arguments.add(Int32(y.type == .float32 ? 1 : 0))
    try add(scalesOf: weight, firstRow: 0, to: &arguments)
    let warps = ElementwiseLaunch.threads / 32
    try kernel("linear_float8", in: Self.file).launch(
      grid: ((weight.rows + warps - 1) / warps, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  /// Rows of a weight as bfloat16, into the start of a tensor.
  private func dequantise(
    float8 weight: Weight, rows: Range<Int>, into target: Tensor
  ) throws {
    let width = weight.rowCount
    let groups = rows.count * width / 8
    var arguments = KernelArguments()
    arguments.add(try blockAddress(weight) + UInt64(rows.lowerBound * width))
    arguments.add(try address(target, .bfloat16, "dequantise"))
    arguments.add(Int64(groups))
    arguments.add(Int32(width))
    try add(scalesOf: weight, firstRow: rows.lowerBound, to: &arguments)
    try kernel("dequantise_float8", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(groups), 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  private func add(
    scalesOf weight: Weight, firstRow: Int, to arguments: inout KernelArguments
  ) throws {
    guard let scales = weight.blockScales else {
      throw ComputeError.shapeMismatch(operation: "linear", detail: "a weight without scales")
    }
    arguments.add(try address(scales.values, .float32, "linear"))
    arguments.add(Int32(scales.rows))
    arguments.add(Int32(scales.columns))
    arguments.add(Int32((weight.rowCount + scales.columns - 1) / scales.columns))
    arguments.add(Int32(scales.firstRow + firstRow))
  }
}
