internal import CUDASources
public import Compute

extension CUDABackend {
  public func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    let rows = k.rows
    let heads = layer.keys.shape[0]
    let headDim = layer.keys.shape[2]
    try require(
      layer.keys.shape == layer.values.shape && k.shape == v.shape
        && k.shape == [rows, heads, headDim] && headDim % 16 == 0
        && firstPosition >= 0 && firstPosition + rows <= layer.capacity, "store",
      "k \(k.shape), v \(v.shape), layer \(layer.keys.shape), position \(firstPosition)")
    forgetFloat8Blocks()
    if layer.keys.type == .float8 {
      try device.step?.refuse("a cache of float8")
      try storeQuantized(k: k, v: v, in: layer, firstPosition: firstPosition)
      return
    }
    try store(
      k: k, v: v, keys: address(layer.keys, .bfloat16, "store"),
      values: address(layer.values, .bfloat16, "store"), firstPosition: firstPosition,
      headStride: layer.capacity * headDim)
  }

  private func store(
    k: Tensor, v: Tensor, keys: UInt64, values: UInt64, firstPosition: Int, headStride: Int
  ) throws {
    var arguments = KernelArguments()
    arguments.add(try address(k, .bfloat16, "store"))
    arguments.add(try address(v, .bfloat16, "store"))
    arguments.add(keys)
    arguments.add(values)
    for value in k.shape { arguments.add(Int32(value)) }
    arguments.add(Int64(k.rowCount))
    arguments.add(Int64(k.rowCount))
    // Within a step the position is on the device.
    let position = try device.step?.onlyPositionAddress(rows: k.rows)
    arguments.add(position == nil ? Int32(firstPosition) : 0)
    arguments.add(Int64(headStride))
    arguments.add(position ?? 0)
    try kernel("store", in: "kv.cu").launch(
      grid: (ElementwiseLaunch.blocks(k.count / 8), 2, 1), block: ElementwiseLaunch.threads,
      arguments)
  }

  /// A few rows into a float8 layer, through a bfloat16 layer of just these rows.
  private func storeQuantized(
    k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int
  ) throws {
    let staged = [layer.keys.shape[0], k.rows, layer.keys.shape[2]]
    let rows = KeyValueLayer(
      keys: try makeTensor(.bfloat16, staged, purpose: "new keys"),
      values: try makeTensor(.bfloat16, staged, purpose: "new values"), count: k.rows)
    try store(k: k, v: v, in: rows, firstPosition: 0)
    try quantize(rows, positions: firstPosition..<firstPosition + k.rows, into: layer)
  }

  public func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?
  ) throws {
    let headDim = shape.headDim
    try require(
      q.shape == [q.rows, shape.queryHeads, headDim] && o.shape == q.shape
        && Self.headDims.contains(headDim)
        && logSumExp?.count ?? 0 == (logSumExp == nil ? 0 : q.rows * shape.queryHeads)
        && layer.keys.shape[0] == shape.keyValueHeads && layer.keys.shape[2] == headDim
        && firstPosition >= index.firstPosition && firstPosition + q.rows <= index.keys
        && index.keys <= layer.count && index.tile == tileShape(headDim: headDim), "attention",
      "q \(q.shape), o \(o.shape), rows \(firstPosition)..<\(firstPosition + q.rows) of an index of "
        + "\(index.firstPosition)..<\(index.keys), \(layer.count) keys of \(layer.keys.shape); head "
        + "sizes are 64, 96 or 128 on a GPU")
    guard q.rows > 0 else { return }
    if index.isDense, !index.isPart, device.step == nil,
      AttentionLaunch.sharesKeys(
        rows: q.rows, keys: firstPosition + q.rows, queryHeads: shape.queryHeads,
        multiprocessors: device.multiprocessors)
    {
      return try rowAttention(
        q: q, positions: Array(firstPosition..<firstPosition + q.rows), layer: layer, shape: shape,
        into: o, logSumExp: logSumExp)
    }
    let sinks = try layer.sinkLogits(of: shape)
    let logSumExp = try logSumExp ?? sinks.map { _ in try logSumExps(of: q) }
    let (plans, columns, owner) = try plans(of: index, heads: shape.queryHeads)
    var parameters = mi_attention_parameters()
    parameters.q = try address(q, .bfloat16, "attention")
    parameters.o = try address(o, .bfloat16, "attention")
    parameters.log_sum_exp = try logSumExp.map { try address($0, .float32, "attention") } ?? 0
    parameters.k = try address(layer.keys, .bfloat16, "attention")
    parameters.v = try address(layer.values, .bfloat16, "attention")
    parameters.kv_head_stride = Int64(layer.capacity * headDim)
    parameters.heads = plans
    parameters.rows = Int32(q.rows)
    parameters.first_position = Int32(firstPosition)
    parameters.plan_first_position = Int32(index.firstPosition)
    parameters.q_stride = Int32(q.rowCount)
    parameters.o_stride = Int32(o.rowCount)
    parameters.query_heads = Int32(shape.queryHeads)
    parameters.group_size = Int32(shape.groupSize)
    parameters.window = Int32(clamping: shape.slidingWindow ?? .max)
    parameters.scale_log2 = shape.scale * 1.442695040888963
    parameters.first_key = Int32(index.keyRange?.lowerBound ?? 0)
    parameters.end_key = index.keyRange.map { Int32($0.upperBound) } ?? .max
    if try usesFloat8Attention(shape: shape, mostColumns: columns), !index.isPart {
      try launchFloat8Attention(
        parameters, keyValueHeads: shape.keyValueHeads, keys: index.keys, mostColumns: columns,
        generation: layer.generation)
    } else if usesHopperKernel(headDim: headDim) {
      try launchHopperAttention(
        parameters, headDim: headDim, keyValueHeads: shape.keyValueHeads, mostColumns: columns)
    } else {
      try launchAttention(parameters, headDim: headDim)
    }
    if let sinks, let logSumExp { try add(sinks, to: o, logSumExp: logSumExp) }
    // Memory goes back to the pool behind the launches that use it, not before.
    withExtendedLifetime((owner, logSumExp)) {}
  }

  /// Room for the log-sum-exps that sinks are added by: [rows, heads].
  func logSumExps(of q: Tensor) throws -> Tensor {
    try makeTensor(
      .float32, Array(q.shape.dropLast()), purpose: "the log-sum-exps of attention")
  }

  /// Attention over keys becomes attention over keys and sinks (`merging.cu`).
  func add(_ sinks: Tensor, to o: Tensor, logSumExp: Tensor) throws {
    let vectors = logSumExp.count
    var arguments = KernelArguments()
    arguments.add(try address(o, .bfloat16, "attention"))
    arguments.add(try address(logSumExp, .float32, "attention"))
    arguments.add(try address(sinks, .float32, "attention"))
    arguments.add(Int64(vectors))
    arguments.add(Int32(sinks.count))
    arguments.add(Int32(o.shape[2]))
    try kernel("add_sinks", in: "merging.cu").launch(
      grid: ((vectors + 7) / 8, 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  private func launchAttention(_ parameters: mi_attention_parameters, headDim: Int) throws {
    var arguments = KernelArguments()
    arguments.add(parameters)
    let first = Int(parameters.first_position)
    let pairs =
      (first + Int(parameters.rows) - 1) / AttentionLaunch.rows - first / AttentionLaunch.rows + 1
    try kernel("attention_d\(headDim)", in: "attention.cu").launch(
      grid: (Int(parameters.query_heads) * pairs, 1, 1), block: AttentionLaunch.threads,
      shared: AttentionLaunch.sharedBytes(headDim: headDim), arguments)
  }

  /// The HeadPlans of an index on the device, the most columns of any, and what keeps them there.
  private func plans(
    of index: SparseIndex, heads: Int
  ) throws -> (address: UInt64, mostColumns: Int, owner: any Sendable) {
    switch index {
    case .resident(let index):
      guard let index = index as? CUDAIndex else {
        throw ComputeError.shapeMismatch(
          operation: "attention", detail: "the index belongs to another device")
      }
      return (try address(index.plans, "attention"), index.mostColumns, index)
    case .tiles(let index):
      try require(
        index.rowSetOfHead.count == heads, "attention",
        "\(index.rowSetOfHead.count) heads in the index, \(heads) in q")
      let uploaded = try uploadedIndex(index)
      return (try address(uploaded.plans, "attention"), uploaded.mostColumns, uploaded.plans)
    case .part(let whole, _): return try plans(of: whole, heads: heads)
    }
  }
}

/// Geometry of `attention.cu`.
package enum AttentionLaunch {
  /// Query positions of a thread block: a pair of tile rows.
  package static let rows = 128

  /// Whether dense attention of these rows is better done by blocks that share out the keys: a few rows
  /// behind a long prompt make fewer blocks of tiles than half the multiprocessors, and each of them
  /// would read all keys.
  package static func sharesKeys(
    rows: Int, keys: Int, queryHeads: Int, multiprocessors: Int
  ) -> Bool {
    rows <= 64 && keys >= 4096 && 2 * queryHeads <= multiprocessors
  }
  package static let threads = 128

  package static func sharedBytes(headDim: Int) -> Int {
    switch headDim {
    case 64: 51968
    case 96: 76544
    default: 101120
    }
  }
}
