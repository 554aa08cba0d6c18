internal import CUDASources
import Compute

/// Attention with operands of e4m3 by the Hopper kernel for them (`attention_fp8_hopper.cu`).
extension CUDABackend {
  /// Throws where fp8 operands are asked for and there is no kernel for heads of this size.
  func requireFloat8Attention(headDim: Int) throws {
    guard attentionPrecision == .native || headDim == Float8Launch.headDim else {
      throw ComputeError.unavailable(
        what: "attention with fp8 operands for heads of \(headDim)",
        remedy: Remedy("they are for heads of 128", use: .nativeAttention))
    }
  }

  /// Whether a call is left to it. Not where single columns meet a sliding window: the kernel masks
  /// columns by tile row, and the window ends inside of one.
  func usesFloat8Attention(shape: AttentionShape, mostColumns: Int) throws -> Bool {
    guard attentionPrecision == .fp8 else { return false }
    try requireFloat8Attention(headDim: shape.headDim)
    return shape.slidingWindow == nil || mostColumns == 0
  }

  /// - Parameters:
  ///   - keys: Positions of the layer that hold numbers; all of them are rounded, once for all rows.
  ///   - mostColumns: At least the columns of every plan.
  ///   - generation: Of the layer.
  func launchFloat8Attention(
    _ parameters: mi_attention_parameters, keyValueHeads: Int, keys: Int, mostColumns: Int,
    generation: UInt64
  ) throws {
    let counter = try address(counter(), "attention")
    let blocks = try float8Blocks(
      parameters, keyValueHeads: keyValueHeads, keys: keys, mostColumns: mostColumns,
      generation: generation)
    // Memory goes back to the pool behind the launch that uses it, not before.
    defer { withExtendedLifetime(blocks) {} }
    var arguments = KernelArguments()
    arguments.add(parameters)
    arguments.add(mi_hopper_parameters(counter: counter, pair_heads: 0))
    arguments.add(
      mi_fp8_parameters(
        keys: try address(blocks.keys, "attention"),
        values: try address(blocks.values, "attention"),
        column_keys: try address(blocks.columnKeys, "attention"),
        column_values: try address(blocks.columnValues, "attention"),
        factors: try address(blocks.factors, "attention"),
        blocks: Int32(blocks.keys.shape[1]), column_blocks: Int32(blocks.columnKeys.shape[1])))
    try kernel("attention_fp8_hopper_d128", in: Float8Launch.file).launch(
      grid: (device.multiprocessors, 1, 1), block: Float8Launch.threads,
      shared: Float8Launch.sharedBytes, arguments)
  }

  /// Keys and values as blocks of e4m3: those of the last call if nothing has changed since, because
  /// a layer's rows come in several calls.
  private func float8Blocks(
    _ parameters: mi_attention_parameters, keyValueHeads: Int, keys: Int, mostColumns: Int,
    generation: UInt64
  ) throws -> Float8Blocks {
    let source = Float8Blocks.Source(
      generation: generation, k: parameters.k, v: parameters.v, heads: parameters.heads,
      headStride: parameters.kv_head_stride, keys: keys, mostColumns: mostColumns)
    if let last = lastFloat8Blocks, last.source == source { return last }
    // Memory of the last ones first: there may be no room for both.
    forgetFloat8Blocks()
    let queryHeads = Int(parameters.query_heads)
    let count = (keys + 63) / 64
    let columnBlocks = max(1, (mostColumns + 63) / 64)
    func blocks(_ heads: Int, _ count: Int) throws -> Tensor {
      try makeTensor(
        .float8, [heads, count, Float8Launch.blockBytes], purpose: "keys and values as fp8")
    }
    let result = Float8Blocks(
      source: source, keys: try blocks(keyValueHeads, count),
      values: try blocks(keyValueHeads, count),
      columnKeys: try blocks(mostColumns > 0 ? queryHeads : 1, columnBlocks),
      columnValues: try blocks(mostColumns > 0 ? queryHeads : 1, columnBlocks),
      factors: try makeTensor(
        .float32, [keyValueHeads, Float8Launch.factors], purpose: "scales of fp8"))
    try quantize(result, parameters, keyValueHeads: keyValueHeads)
    if mostColumns > 0 {
      var arguments = KernelArguments()
      arguments.add(parameters)
      for tensor in [result.factors, result.columnKeys, result.columnValues] {
        arguments.add(try address(tensor, "attention"))
      }
      arguments.add(Int32(64 * columnBlocks))
      try kernel("quantize_columns", in: Float8Launch.blocksFile).launch(
        grid: (columnBlocks, queryHeads, 1), block: 256, arguments)
    }
    lastFloat8Blocks = result
    return result
  }

  private func quantize(
    _ blocks: Float8Blocks, _ parameters: mi_attention_parameters, keyValueHeads: Int
  ) throws {
    let keys = blocks.source.keys
    let chunks = (keys + Float8Launch.rowsOfChunk - 1) / Float8Launch.rowsOfChunk
    let partial = try makeTensor(
      .float32, [2, keyValueHeads, chunks, 3 * Float8Launch.headDim], purpose: "sums for fp8")
    defer { withExtendedLifetime(partial) {} }
    let partialAddress = try address(partial, "attention")
    let factors = try address(blocks.factors, "attention")
    var arguments = KernelArguments()
    arguments.add(parameters.k)
    arguments.add(parameters.v)
    arguments.add(partialAddress)
    arguments.add(Int32(keys))
    arguments.add(parameters.kv_head_stride)
    try kernel("kv_statistics", in: Float8Launch.blocksFile).launch(
      grid: (chunks, keyValueHeads, 2), block: 256, arguments)
    arguments = KernelArguments()
    arguments.add(partialAddress)
    arguments.add(factors)
    arguments.add(Int32(keys))
    try kernel("kv_factors", in: Float8Launch.blocksFile).launch(
      grid: (keyValueHeads, 2, 1), block: 1024, arguments)
    arguments = KernelArguments()
    arguments.add(parameters.k)
    arguments.add(parameters.v)
    arguments.add(factors)
    arguments.add(try address(blocks.keys, "attention"))
    arguments.add(try address(blocks.values, "attention"))
    arguments.add(Int32(keys))
    arguments.add(parameters.kv_head_stride)
    try kernel("quantize_blocks", in: Float8Launch.blocksFile).launch(
      grid: (blocks.keys.shape[1], keyValueHeads, 1), block: 256, arguments)
  }
}

/// What `fp8_blocks_hopper.cu` makes of a layer and of the columns of an index.
struct Float8Blocks {
  /// What it was made of. Whoever changes what lies there within a generation calls
  /// `forgetFloat8Blocks`.
  struct Source: Equatable {
    var generation: UInt64
    var k: UInt64
    var v: UInt64
    var heads: UInt64
    var headStride: Int64
    var keys: Int
    var mostColumns: Int
  }

  let source: Source
  /// [keyValueHeads][blocks of 64 keys] of 8192 bytes.
  let keys: Tensor
  let values: Tensor
  /// [queryHeads][blocks of 64 columns] of 8192 bytes.
  let columnKeys: Tensor
  let columnValues: Tensor
  /// [keyValueHeads] KVFactors.
  let factors: Tensor
}

/// Geometry of `attention_fp8_hopper.cu` and `fp8_blocks_hopper.cu`.
package enum Float8Launch {
  package static let file = "attention_fp8_hopper.cu"
  package static let blocksFile = "fp8_blocks_hopper.cu"
  package static let headDim = 128
  package static let threads = 384
  package static let sharedBytes = 218_368
  /// Keys, or values, of 64 positions.
  package static let blockBytes = 8192
  /// Numbers of a KVFactors.
  package static let factors = 264
  package static let rowsOfChunk = 1024
}
