public import Compute
import StoredNumbers

extension CUDABackend {
  public func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    var bytes = type.byteCount
    for extent in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
      guard extent >= 0, !overflow else {
        throw ComputeError.outOfMemory(wantedBytes: .max, purpose: purpose)
      }
      bytes = product
    }
    return Tensor(
      buffer: try DeviceMemory(bytes, on: device, purpose: purpose), type: type, shape: shape)
  }

  /// The same numbers in another float format, rounded to nearest; the tensor itself if it has it.
  func converted(_ tensor: Tensor, to type: DataType) throws -> Tensor {
    guard tensor.type != type else { return tensor }
    let names: [DataType: String] = [
      .float32: "fp32", .float16: "fp16", .bfloat16: "bf16",
    ]
    guard let from = names[tensor.type], let to = names[type] else {
      throw ComputeError.shapeMismatch(
        operation: "convert", detail: "\(tensor.type.rawValue) to \(type.rawValue)")
    }
    let result = try makeTensor(type, tensor.shape, purpose: "a conversion")
    var arguments = KernelArguments()
    arguments.add(try address(tensor, "convert"))
    arguments.add(try address(result, "convert"))
    arguments.add(Int64(tensor.count))
    try kernel("convert_\(from)_\(to)", in: "elementwise.cu").launch(
      grid: (ElementwiseLaunch.blocks(tensor.count / 8 + 1), 1, 1),
      block: ElementwiseLaunch.threads, arguments)
    return result
  }

  public func read(_ tensor: Tensor) throws -> [Float] {
    if tensor.type == .int32 {
      throw ComputeError.shapeMismatch(operation: "read", detail: "int32 is not a float")
    }
    if tensor.type == .float8 {
      let bytes: [UInt8] = try values(of: tensor)
      let numbers = bytes.map { Float(float8Bits: $0) }
      guard let scales = (tensor.buffer as? DeviceMemory)?.rowScales else { return numbers }
      let factors: [Float] = try values(of: scales)
      let first = tensor.byteOffset / max(1, tensor.rowCount)
      return numbers.enumerated().map { $1 * factors[first + $0 / tensor.rowCount] }
    }
    // Slices of narrow types need not lie where the conversion reads sixteen bytes at once.
    if tensor.type == .bfloat16 {
      let bits: [UInt16] = try values(of: tensor)
      return bits.map { Float(bitPattern: UInt32($0) << 16) }
    }
    return try values(of: try converted(tensor, to: .float32))
  }

  /// The elements as they are stored; waits for earlier operations.
  func values<Element: BitwiseCopyable>(of tensor: Tensor) throws -> [Element] {
    precondition(MemoryLayout<Element>.size == tensor.type.byteCount)
    return try values(at: try address(tensor, "read"), count: tensor.count)
  }

  /// So many values from a device address on; waits for earlier operations.
  func values<Element: BitwiseCopyable>(at address: UInt64, count: Int) throws -> [Element] {
    try device.activate()
    return try [Element](unsafeUninitializedCapacity: count) { target, initialized in
      if let start = target.baseAddress, count > 0 {
        try device.driver.check(
          "cuMemcpyDtoHAsync",
          device.driver.copyToHost(
            start, address, count * MemoryLayout<Element>.size, device.stream))
        try device.synchronize()
      }
      initialized = count
    }
  }

  public func write(_ values: [Float], to tensor: Tensor) throws {
    try require(
      values.count == tensor.count, "write", "\(values.count) values for \(tensor.shape)")
    switch tensor.type {
    case .float32: try upload(values, to: tensor)
    case .bfloat16: try upload(values.map(\.bfloat16Bits), to: tensor)
    // Stored keys and values, as they were read before: nothing is rounded.
    case .float8: try upload(values.map(\.float8Bits), to: tensor)
    default:
      throw ComputeError.shapeMismatch(
        operation: "write", detail: "\(tensor.type.rawValue) is not written from floats")
    }
  }

  /// Copies host values to the start of a tensor.
  func upload<Element: BitwiseCopyable>(_ values: [Element], to tensor: Tensor) throws {
    guard !values.isEmpty else { return }
    try device.step?.refuse("numbers of the host")
    forgetFloat8Blocks()
    try require(
      values.count * MemoryLayout<Element>.stride <= tensor.byteCount, "upload",
      "\(values.count) values for \(tensor.shape)")
    try device.activate()
    let target = try address(tensor, "upload")
    try values.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      try device.driver.check(
        "cuMemcpyHtoDAsync",
        device.driver.copyToDevice(target, start, bytes.count, device.stream))
    }
  }

  /// A tensor of the bytes of host values.
  func uploaded<Element: BitwiseCopyable>(_ values: [Element], purpose: String) throws -> Tensor {
    let words = (values.count * MemoryLayout<Element>.stride + 3) / 4
    let tensor = try makeTensor(.int32, [max(words, 1)], purpose: purpose)
    try upload(values, to: tensor)
    return tensor
  }
}

/// Geometry of `elementwise.cu`.
enum ElementwiseLaunch {
  static let threads = 256

  /// The number of thread blocks of a flat grid of `items` items.
  static func blocks(_ items: Int) -> Int { (items + threads - 1) / threads }
}

extension CUDABackend {
  /// Consecutive rows by a copy, others by the kernel that embedding uses.
  public func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
    try requireGather(x, rows: rows, into: y)
    guard let first = rows.first, x.rowCount > 0 else { return }
    if device.step == nil, rows.enumerated().allSatisfy({ $1 == first + Int32($0) }) {
      try device.activate()
      let offset = UInt64(Int(first) * x.rowCount * x.type.byteCount)
      return try device.driver.check(
        "cuMemcpyDtoDAsync",
        device.driver.copyOnDevice(
          address(y, "gatherRows"), address(x, "gatherRows") + offset, y.byteCount,
          device.stream))
    }
    let ids = try makeIDs(rows)
    var arguments = KernelArguments()
    arguments.add(try address(x, "gatherRows"))
    arguments.add(try address(ids, "gatherRows"))
    arguments.add(try address(y, "gatherRows"))
    // Units of two bytes: bf16 is one, float32 two.
    arguments.add(Int32(x.rowCount * x.type.byteCount / 2))
    try kernel("gather_rows", in: "elementwise.cu").launch(
      grid: (rows.count, 1, 1), block: ElementwiseLaunch.threads, arguments)
    withExtendedLifetime(ids) {}
  }

  public func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    try CUDAKeyValueStore(
      layers: layers, extents: extents, options: options, sharing: sharing, backend: self)
  }
}
