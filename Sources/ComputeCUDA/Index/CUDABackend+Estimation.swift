internal import CUDASources
public import Compute

/// Column and offset sums of a chunk's last rows (`estimation.cu`), for all wanted heads of a layer
/// in two passes over the keys.
extension CUDABackend {
  /// The sums on the device: [queryHeads][stride] float32 each.
  struct DeviceSums {
    var vertical: Tensor
    var slash: Tensor
    var stride: Int
  }

  /// - Parameter budgets: [queryHeads] HeadBudget; heads that are not wanted are left alone.
  func sums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, budgets: Tensor
  ) throws -> DeviceSums {
    let rows = q.rows
    let keys = firstPosition + rows
    let headDim = shape.headDim
    try require(
      q.shape == [rows, shape.queryHeads, headDim] && (1...64).contains(rows)
        && [64, 96, 128].contains(headDim) && firstPosition >= 0 && keys <= layer.count
        && layer.keys.shape[0] == shape.keyValueHeads, "lastRowSums",
      "q \(q.shape) from position \(firstPosition), \(layer.count) keys of \(layer.keys.shape)")
    let stride = EstimatedIndexSizes(keys: keys).sumStride
    let purpose = "estimation over \(keys) keys"
    let result = DeviceSums(
      vertical: try makeTensor(.float32, [shape.queryHeads, stride], purpose: purpose),
      slash: try makeTensor(.float32, [shape.queryHeads, stride], purpose: purpose),
      stride: stride)

    let warps = min(shape.groupSize, 8)
    let groups = shape.keyValueHeads * ((shape.groupSize + warps - 1) / warps)
    let window = shape.slidingWindow ?? .max
    let firstKey = window < firstPosition ? firstPosition - window + 1 : 0
    let tiles = (keys + Self.tile - 1) / Self.tile - firstKey / Self.tile
    let wanted = max(1, device.multiprocessors * max(1, 8 / warps) / groups)
    let tilesPerSplit = (tiles + wanted - 1) / wanted
    let splits = (tiles + tilesPerSplit - 1) / tilesPerSplit
    let partial = try makeTensor(
      .float32, [shape.queryHeads, splits, 64, 2], purpose: purpose)

    var parameters = mi_estimation_parameters()
    parameters.q = try address(q, .bfloat16, "lastRowSums")
    parameters.k = try address(layer.keys, .bfloat16, "lastRowSums")
    parameters.budgets = try address(budgets, "lastRowSums")
    parameters.partial = try address(partial, "lastRowSums")
    parameters.vertical = try address(result.vertical, "lastRowSums")
    parameters.slash = try address(result.slash, "lastRowSums")
    parameters.sinks =
      try layer.sinkLogits(of: shape).map { try address($0, .float32, "lastRowSums") } ?? 0
    parameters.kv_head_stride = Int64(layer.capacity * headDim)
    parameters.sum_stride = Int64(stride)
    parameters.rows = Int32(rows)
    parameters.first_position = Int32(firstPosition)
    parameters.q_stride = Int32(q.rowCount)
    parameters.query_heads = Int32(shape.queryHeads)
    parameters.group_size = Int32(shape.groupSize)
    parameters.window = Int32(clamping: window)
    parameters.splits = Int32(splits)
    parameters.keys_per_split = Int32(tilesPerSplit * Self.tile)
    parameters.scale_log2 = shape.scale * 1.442695040888963
    var arguments = KernelArguments()
    arguments.add(parameters)
    let keyBytes = 256 * (headDim + 8)
    for (name, shared) in [
      ("estimate_maxima_d\(headDim)", keyBytes),
      ("estimate_sums_d\(headDim)", keyBytes + 2688 * warps),
    ] {
      try kernel(name, in: "estimation.cu").launch(
        grid: (splits, groups, 1), block: 32 * warps, shared: shared, arguments)
    }
    withExtendedLifetime(partial) {}
    return result
  }

  public func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    try require(
      heads.allSatisfy { (0..<shape.queryHeads).contains($0) }, "lastRowSums", "heads \(heads)")
    let budgets = (0..<shape.queryHeads).map { head in
      mi_head_budget(vertical: 0, slash: 0, wanted: heads.contains(head) ? 1 : 0, share: 0)
    }
    let sums = try sums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape,
      budgets: uploaded(budgets, purpose: "estimation"))
    return DeviceRowSums(
      vertical: sums.vertical, slash: sums.slash, keys: firstPosition + q.rows, rows: heads)
  }

  public func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    try fallback.meanPooled(x, blockSize: blockSize, memory: self)
  }

  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    try fallback.meanPooledKeys(layer, count: count, blockSize: blockSize, memory: self)
  }
}
