internal import CUDASources
internal import Compute

/// Attention by the Hopper kernel (`attention_hopper.cu`): bulk tensor copies and warpgroup products.
extension CUDABackend {
  var hasHopperKernel: Bool { Self.hasHopperKernel(device) }

  static func hasHopperKernel(_ device: CUDADevice) -> Bool {
    device.architecture == 90 && device.driver.encodeTensorMap != nil
  }

  /// Whether attention of this head size is left to it.
  func usesHopperKernel(headDim: Int) -> Bool {
    kernels == .hopper && hasHopperKernel && headDim != 96
  }

  /// - Parameters:
  ///   - keys: Positions of the layer that hold numbers; what lies beyond is never read.
  ///   - mostColumns: At least the columns of every plan.
  func launchHopperAttention(
    _ parameters: mi_attention_parameters, headDim: Int, keyValueHeads: Int, mostColumns: Int
  ) throws {
    let heads = Int(parameters.query_heads)
    let keys = Int(parameters.first_position) + Int(parameters.rows)
    let columns = max(64, (mostColumns + 63) / 64 * 64)
    // Heads' columns side by side: what a bulk copy can read.
    let gathered = try [0, 1].map { _ in
      try makeTensor(
        .bfloat16, [mostColumns > 0 ? heads : 1, columns, headDim], purpose: "gathered columns")
    }
    let addresses = try gathered.map { try address($0, "attention") }
    if mostColumns > 0 {
      var arguments = KernelArguments()
      arguments.add(parameters)
      arguments.add(addresses[0])
      arguments.add(addresses[1])
      arguments.add(Int32(columns))
      try kernel("gather_columns_d\(headDim)", in: HopperLaunch.file).launch(
        grid: (columns / 8, heads, 1), block: 256, arguments)
    }
    let row = UInt64(2 * headDim)
    func map(
      _ address: UInt64, _ sizes: [Int], _ strides: [UInt64], box: [UInt32]
    ) throws -> mi_tensor_map {
      try tensorMap(address, sizes: sizes.map(UInt64.init), strides: strides, box: box)
    }
    let keyStride = UInt64(2 * parameters.kv_head_stride)
    var arguments = KernelArguments()
    arguments.add(parameters)
    arguments.add(
      mi_hopper_parameters(counter: try address(counter(), "attention"), pair_heads: 0))
    arguments.add(
      try map(
        parameters.q, [headDim, heads, Int(parameters.rows)],
        [row, UInt64(2 * parameters.q_stride)], box: [64, 1, 64]))
    for cache in [parameters.k, parameters.v] {
      arguments.add(
        try map(cache, [headDim, keys, keyValueHeads], [row, keyStride], box: [64, 64, 1]))
    }
    for (address, tensor) in zip(addresses, gathered) {
      arguments.add(
        try map(
          address, [headDim, columns, tensor.rows], [row, row * UInt64(columns)],
          box: [64, 64, 1]))
    }
    try kernel("attention_hopper_d\(headDim)", in: HopperLaunch.file).launch(
      grid: (device.multiprocessors, 1, 1), block: HopperLaunch.threads,
      shared: HopperLaunch.sharedBytes(headDim: headDim), arguments)
    // Memory goes back to the pool behind the launches that use it, not before.
    withExtendedLifetime(gathered) {}
  }

  /// A tensor of rank 3 for bulk copies, of bfloat16 or of bytes: sizes with the innermost first, strides
  /// in bytes of the outer two; zeros outside.
  func tensorMap(
    _ address: UInt64, sizes: [UInt64], strides: [UInt64], box: [UInt32],
    type: DataType = .bfloat16
  ) throws -> mi_tensor_map {
    guard let encode = device.driver.encodeTensorMap else {
      throw ComputeError.unavailable(
        what: "cuTensorMapEncodeTiled", remedy: "update the NVIDIA driver to 525 or later")
    }
    // The driver wants the map at a multiple of 64 bytes.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 64)
    defer { memory.deallocate() }
    let steps: [UInt32] = [1, 1, 1]
    // CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 or _UINT8, no interleave, SWIZZLE_128B, L2_PROMOTION_L2_256B, no NaN fill.
    let code = encode(
      memory, type == .bfloat16 ? 9 : 0, 3,
      UnsafeMutableRawPointer(bitPattern: UInt(address)) ?? memory, sizes, strides,
      box, steps, 0, 3, 3, 0)
    try device.driver.check("cuTensorMapEncodeTiled \(sizes) by \(strides)", code)
    return memory.load(as: mi_tensor_map.self)
  }
}

/// Geometry of `attention_hopper.cu`.
package enum HopperLaunch {
  package static let file = "attention_hopper.cu"
  package static let threads = 384

  package static func sharedBytes(headDim: Int) -> Int { headDim == 64 ? 116_992 : 231_680 }
}
