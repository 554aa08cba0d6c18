public import Compute

/// Weights as the kernels read them, converted when they are made and never after.
///
/// Matrices are bfloat16, rows of float8 with a factor each, or blocks as they are stored; norms float32. A bias is kept in both
/// types: the product's epilogue adds bfloat16, in which biases are published, and the kernel for shapes
/// without such an epilogue adds float32.
extension CUDABackend {
  /// Weights go up straight from where they are mapped.
  public func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
    if case .blocks(let format) = stored.format {
      return try prepareBlocks(stored, format, as: role)
    }
    if let scales = stored.scales, role == .matrix { return try prepareFloat8(stored, scales) }
    let type = try stored.denseType(on: self)
    let numbers = try makeTensor(type, stored.shape, purpose: "weights")
    try device.activate()
    if let start = stored.bytes.baseAddress, stored.bytes.count > 0 {
      // From memory that is not page-locked the driver copies before it returns.
      try device.driver.check(
        "cuMemcpyHtoDAsync",
        device.driver.copyToDevice(
          try address(numbers, "prepare"), start, stored.bytes.count, device.stream))
      try device.synchronize()
    }
    if type == .float16, role != .norm {
      notice("weights of float16 are kept as bfloat16 on the GPU, which has fewer digits")
    }
    return try prepare(numbers, as: role)
  }

  public func prepare(_ numbers: Tensor, as role: WeightRole) throws -> Weight {
    switch role {
    case .matrix:
      let matrix = try converted(numbers, to: .bfloat16)
      return linearPrecision == .fp8 ? try quantizedWeight(matrix) : Weight(matrix)
    case .vocabulary: return Weight(try converted(numbers, to: .bfloat16))
    case .norm: return Weight(try converted(numbers, to: .float32))
    case .bias:
      let memory = BiasMemory(
        bfloat16: try converted(numbers, to: .bfloat16),
        float32: try converted(numbers, to: .float32))
      return Weight(storage: memory, format: .dense(.float32), shape: numbers.shape)
    }
  }

  /// Where a bias lies in the type that a kernel adds.
  func biasAddress(_ bias: Weight, _ type: DataType) throws -> UInt64 {
    guard let memory = bias.storage as? BiasMemory else {
      throw ComputeError.shapeMismatch(
        operation: "linear", detail: "the bias was not prepared as one")
    }
    let first = bias.byteOffset / DataType.float32.byteCount
    let numbers = type == .bfloat16 ? memory.bfloat16 : memory.float32
    return try address(numbers, type, "linear") + UInt64(first * type.byteCount)
  }

  /// The device address of a dense weight's first element.
  func address(_ weight: Weight, _ type: DataType, _ operation: String) throws -> UInt64 {
    try address(weight.tensor(for: operation), type, operation)
  }
}

/// A bias in the two types that kernels add.
final class BiasMemory: DeviceBuffer {
  let bfloat16: Tensor
  let float32: Tensor

  init(bfloat16: Tensor, float32: Tensor) {
    self.bfloat16 = bfloat16
    self.float32 = float32
  }

  /// Bytes of the float32 numbers, by which offsets count.
  var byteCount: Int { float32.byteCount }
}
