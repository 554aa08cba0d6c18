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
}
