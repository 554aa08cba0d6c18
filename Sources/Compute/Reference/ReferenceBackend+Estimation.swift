/// The primitives themselves are ``ReferenceEstimation``'s functions on arrays; here they are handed
/// host copies of the tensors.
extension ReferenceBackend {
  public func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> [LastRowSums] {
    try require(
      q.shape == [q.rows, shape.queryHeads, shape.headDim] && (1...64).contains(q.rows)
        && firstPosition >= 0 && firstPosition + q.rows <= layer.count
        && heads.allSatisfy { (0..<shape.queryHeads).contains($0) }, "lastRowSums",
      "q \(q.shape) from position \(firstPosition), \(layer.count) keys, heads \(heads)")
    return ReferenceEstimation.lastRowSums(
      q: try read(q), rows: q.rows, firstPosition: firstPosition, keys: try read(layer.keys),
      capacity: layer.capacity, shape: shape, heads: heads)
  }

  public func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]] {
    try require(
      x.shape.count == 3 && blockSize > 0, "meanPooled", "x \(x.shape), block size \(blockSize)")
    return ReferenceEstimation.meanPooled(
      try read(x), rows: x.shape[0], heads: x.shape[1], headDim: x.shape[2], blockSize: blockSize)
  }

  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> [[Float]] {
    try require(
      count >= 0 && count <= layer.count && blockSize > 0, "meanPooledKeys",
      "\(count) of \(layer.count) keys, block size \(blockSize)")
    return ReferenceEstimation.meanPooledKeys(
      try read(layer.keys), capacity: layer.capacity, count: count,
      keyValueHeads: layer.keys.shape[0], headDim: layer.keys.shape[2], blockSize: blockSize)
  }
}
