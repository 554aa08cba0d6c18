internal import CUDASources
public import Compute

extension CUDABackend {
  public func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?
  ) throws {
    let headDim = shape.headDim
    let rows = positions.count
    try require(
      q.shape == [rows, shape.queryHeads, headDim] && o.shape == q.shape
        && Self.headDims.contains(headDim)
        && logSumExp.map { $0.count == rows * shape.queryHeads } ?? true
        && layer.keys.shape[0] == shape.keyValueHeads && layer.keys.shape[2] == headDim
        && positions.allSatisfy { (0..<layer.count).contains($0) }, "rowAttention",
      "q \(q.shape), o \(o.shape), \(rows) positions below \(layer.count), keys "
        + "\(layer.keys.shape); head sizes are 64, 96 or 128 on a GPU")
    guard rows > 0 else { return }
    let sinks = try layer.sinkLogits(of: shape)
    let logSumExp = try logSumExp ?? sinks.map { _ in try logSumExps(of: q) }
    // Consecutive rows, as in decoding, need no list, whose way to the device delays the kernel.
    let step = device.step
    let areConsecutive = positions.enumerated().allSatisfy { $1 == positions[0] + $0 }
    let list = areConsecutive ? nil : try uploaded(positions.map(Int32.init), purpose: "positions")
    let isQuantized = layer.keys.type == .float8
    let packed = rows * shape.groupSize
    // Few rows are bound by memory: the warps of a block share out the keys.
    let tileRows = packed <= 16 ? 16 : 64
    let blocks = (packed + tileRows - 1) / tileRows * shape.keyValueHeads
    // A step is repeated at later positions: it shares out the keys of the last one.
    let keys = step?.keyLimit ?? layer.count
    let most = (keys + AttentionLaunch.rowKeys - 1) / AttentionLaunch.rowKeys
    // Whole waves of blocks; many short ones even out where rows see different numbers of keys.
    let blocksEach = tileRows == 64 ? 20 : isQuantized ? 2 : 1
    let splits = max(1, min(most, blocksEach * device.multiprocessors / blocks))
    let isOneLaunch =
      tileRows == 16 && splits * packed <= AttentionLaunch.rowPartials
      && shape.keyValueHeads <= AttentionLaunch.rowCounters
    let room = splits * rows * shape.queryHeads * (headDim + 2)
    let memory = isOneLaunch ? try rowMemory(partials: room) : nil
    let workspace =
      try memory?.partials ?? makeTensor(.float32, [room], purpose: "partial attention")
    defer { withExtendedLifetime((list, workspace, memory, logSumExp)) {} }
    var parameters = mi_row_attention_parameters()
    parameters.q = try address(q, .bfloat16, "rowAttention")
    parameters.o = try address(o, .bfloat16, "rowAttention")
    parameters.log_sum_exp = try logSumExp.map { try address($0, .float32, "rowAttention") } ?? 0
    parameters.k = try address(layer.keys, "rowAttention")
    parameters.v = try address(layer.values, "rowAttention")
    if let scales = layer.scales {
      parameters.key_scales = try address(scales, .float32, "rowAttention")
      parameters.value_scales = parameters.key_scales + UInt64(4 * shape.keyValueHeads)
    }
    try require(
      isQuantized == (layer.scales != nil) && (isQuantized || layer.keys.type == .bfloat16),
      "rowAttention", "keys of \(layer.keys.type.rawValue)")
    parameters.positions =
      try step?.onlyPositionAddress(rows: rows) ?? list.map { try address($0, "rowAttention") } ?? 0
    parameters.workspace = try address(workspace, "rowAttention")
    parameters.counters = try memory.map { try address($0.counters, "rowAttention") } ?? 0
    parameters.keys = step == nil ? Int32((positions.max() ?? 0) + 1) : 0
    parameters.kv_head_stride = Int64(layer.capacity * headDim)
    parameters.rows = Int32(rows)
    parameters.q_stride = Int32(q.rowCount)
    parameters.o_stride = Int32(o.rowCount)
    parameters.query_heads = Int32(shape.queryHeads)
    parameters.group_size = Int32(shape.groupSize)
    parameters.splits = Int32(splits)
    parameters.window = Int32(clamping: shape.slidingWindow ?? .max)
    parameters.scale_log2 = shape.scale * 1.442695040888963
    var arguments = KernelArguments()
    arguments.add(parameters)
    let name = "row_attention_m\(tileRows)\(isQuantized ? "_fp8" : "")_d\(headDim)"
    try kernel(name, in: "row_attention.cu").launch(
      grid: (splits, (packed + tileRows - 1) / tileRows, shape.keyValueHeads),
      block: AttentionLaunch.threads, shared: headDim == 96 ? 73728 : 98304, arguments)
    if !isOneLaunch {
      try kernel("row_attention_combine_d\(headDim)", in: "row_attention.cu").launch(
        grid: (rows * shape.queryHeads, 1, 1), block: 256, arguments)
    }
    if let sinks, let logSumExp { try add(sinks, to: o, logSumExp: logSumExp) }
  }
}

extension CUDABackend {
  public func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    let vectors = logSumExp.count
    try require(
      part.shape == o.shape && logSumExp.shape == whole.shape && vectors > 0
        && part.count % vectors == 0, "mergeAttention",
      "part \(part.shape) with \(logSumExp.shape), o \(o.shape) with \(whole.shape)")
    var arguments = KernelArguments()
    arguments.add(try address(part, .bfloat16, "mergeAttention"))
    arguments.add(try address(logSumExp, .float32, "mergeAttention"))
    arguments.add(try address(o, .bfloat16, "mergeAttention"))
    arguments.add(try address(whole, .float32, "mergeAttention"))
    arguments.add(Int64(vectors))
    arguments.add(Int32(part.count / vectors))
    try kernel("merge_attention", in: "merging.cu").launch(
      grid: ((vectors + 7) / 8, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }
}

extension AttentionLaunch {
  /// Keys of the smallest part that a block of `row_attention.cu` is worth.
  static let rowKeys = 64
  /// Partial results of a kv head that its last block combines; more are worth a launch of their own.
  package static let rowPartials = 256
  /// Splits of a single row whose partial results every block of the projection behind merges for itself, and keys up
  /// to which there are no more of them: longer splits then take less time than another merge.
  static let leftSplits = 16
  static let leftKeys = 8192
  /// Most kv heads that are combined so.
  static let rowCounters = 1024
}
