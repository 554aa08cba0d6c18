internal import Compute

/// Keys and values between bfloat16 and float8 (`kv.cu`): stored = value / factor of its head.
extension CUDABackend {
  /// Room above the largest number of the first rows, for those to come; what is larger is cut off.
  /// It costs no digits: numbers down to 1 / 1792 of the largest still have all that e4m3 gives
  /// (448 / 16 / 2^-6), and smaller ones hardly matter in a product.
  static let quantizationHeadroom: Float = 16

  /// Works out the factors of every head from positions 0 ..< count of a bfloat16 layer.
  func measureScales(of layer: KeyValueLayer, count: Int, for target: KeyValueLayer) throws {
    guard let scales = target.scales else { return }
    let heads = layer.keys.shape[0]
    let headDim = layer.keys.shape[2]
    let largest = try makeTensor(.float32, [2, heads], purpose: "magnitudes")
    try write(Array(repeating: 0, count: 2 * heads), to: largest)
    for (row, tensor) in [layer.keys, layer.values].enumerated() {
      var arguments = KernelArguments()
      arguments.add(try address(tensor, .bfloat16, "quantize"))
      arguments.add(try address(largest.slice(rows: row..<row + 1), "quantize"))
      arguments.add(Int32(headDim))
      arguments.add(Int32(0))
      arguments.add(Int32(count))
      arguments.add(Int64(layer.capacity * headDim))
      try kernel("fp8_amax", in: "kv.cu").launch(
        grid: (min(1024, count * headDim / 16384 + 1), heads, 1),
        block: ElementwiseLaunch.threads, arguments)
    }
    // A thread for each factor, in blocks that a GPU takes.
    for first in stride(from: 0, to: 2 * heads, by: 1024) {
      var arguments = KernelArguments()
      arguments.add(try address(largest, "quantize") + UInt64(4 * first))
      arguments.add(try address(scales, "quantize") + UInt64(4 * first))
      arguments.add(Self.quantizationHeadroom)
      try kernel("fp8_scales", in: "kv.cu").launch(
        grid: (1, 1, 1), block: min(1024, 2 * heads - first), arguments)
    }
  }

  /// Positions of `target` get the same positions of `source`, a bfloat16 layer whose own position 0
  /// stands at `origin` of the target.
  func quantize(
    _ source: KeyValueLayer, positions: Range<Int>, into target: KeyValueLayer, at first: Int? = nil
  ) throws {
    let origin = first == nil ? positions.lowerBound : 0
    try convert(
      "fp8_quantize", source.keys, source.values, target, positions: positions, origin: origin)
  }

  /// Positions of the bfloat16 layer `target` get those of `source`.
  func dequantize(
    _ source: KeyValueLayer, positions: Range<Int>, into target: KeyValueLayer
  ) throws {
    try convert(
      "fp8_dequantize", target.keys, target.values, source, positions: positions, origin: 0)
  }

  private func convert(
    _ name: String, _ keys: Tensor, _ values: Tensor, _ quantized: KeyValueLayer,
    positions: Range<Int>, origin: Int
  ) throws {
    guard let scales = quantized.scales, !positions.isEmpty else { return }
    forgetFloat8Blocks()
    let heads = quantized.keys.shape[0]
    let headDim = quantized.keys.shape[2]
    for (row, pair) in [(keys, quantized.keys), (values, quantized.values)].enumerated() {
      // The kernel counts positions of both from the same zero.
      let plain = try address(pair.0, .bfloat16, "quantize") &- UInt64(origin * headDim * 2)
      let scale = try address(scales, "quantize") + UInt64(row * heads * 4)
      let narrow = try address(pair.1, .float8, "quantize")
      var arguments = KernelArguments()
      if name == "fp8_quantize" {
        arguments.add(plain)
        arguments.add(scale)
        arguments.add(narrow)
      } else {
        arguments.add(narrow)
        arguments.add(scale)
        arguments.add(plain)
      }
      arguments.add(Int32(headDim))
      arguments.add(Int32(positions.lowerBound))
      arguments.add(Int32(positions.count))
      arguments.add(Int64(pair.0.shape[1] * headDim))
      arguments.add(Int64(quantized.capacity * headDim))
      try kernel(name, in: "kv.cu").launch(
        grid: (ElementwiseLaunch.blocks(positions.count * headDim / 16 + 1), heads, 1),
        block: ElementwiseLaunch.threads, arguments)
    }
  }
}
