/// The primitives themselves are ``ReferenceEstimation``'s functions on arrays; here they are handed
/// host copies of the tensors.
extension ReferenceBackend {
  public func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    try require(
      q.shape == [q.rows, shape.queryHeads, shape.headDim]
        && (1...capabilities.estimationRows).contains(q.rows)
        && firstPosition >= 0 && firstPosition + q.rows <= layer.count
        && heads.allSatisfy { (0..<shape.queryHeads).contains($0) }, "lastRowSums",
      "q \(q.shape) from position \(firstPosition), \(layer.count) keys, heads \(heads)")
    let sums = ReferenceEstimation.lastRowSums(
      q: try read(q), rows: q.rows, firstPosition: firstPosition, keys: try read(layer.keys),
      capacity: layer.capacity, shape: shape, heads: heads,
      sinks: try layer.sinkLogits(of: shape).map { try read($0) })
    let keys = firstPosition + q.rows
    func tensor(_ values: [Float]) throws -> Tensor {
      let tensor = try makeTensor(.float32, [heads.count, keys], purpose: "estimation")
      try write(values, to: tensor)
      return tensor
    }
    return DeviceRowSums(
      vertical: try tensor(sums.flatMap(\.vertical)), slash: try tensor(sums.flatMap(\.slash)),
      keys: keys, rows: Array(heads.indices))
  }

  public func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor {
    try fallback.meanPooled(x, blockSize: blockSize, memory: self)
  }

  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> Tensor {
    try fallback.meanPooledKeys(layer, count: count, blockSize: blockSize, memory: self)
  }

  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    source: ShareSource
  ) throws -> Tensor {
    try layer.requireBlockShares(q, firstPosition, shape, heads, source)
    let shares = ReferenceEstimation.blockShares(
      q: try read(q), rows: q.rows, firstPosition: firstPosition, keys: try read(layer.keys),
      capacity: layer.capacity, shape: shape, heads: heads, source: source,
      sinks: try layer.sinkLogits(of: shape).map { try read($0) })
    let keyBlocks = (firstPosition + q.rows - 1) / ShareRule.blockSize + 1
    let tensor = try makeTensor(
      .float32, [heads.count, keyBlocks - firstPosition / ShareRule.blockSize, keyBlocks],
      purpose: "shares of \(keyBlocks) key blocks")
    try write(shares.flatMap { $0 }, to: tensor)
    return tensor
  }

  public func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    throw ComputeError.buildsNoIndices(name)
  }

  public func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    throw ComputeError.buildsNoIndices(name)
  }

  public func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    throw ComputeError.buildsNoIndices(name)
  }
}
