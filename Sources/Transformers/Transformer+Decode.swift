import Compute

extension Transformer {
  /// Reads one more token and returns the logits of the token after it; attention is dense.
  ///
  /// - Throws: ``TransformerError`` when the id, the context or the cache does not allow it; the cache
  ///   is then as before.
  public func decode(_ id: Int32, cache: KeyValueCache) throws -> [Float] {
    try backend.read(decodedLogits(id, cache: cache))
  }

  /// The same, where the backend computes: [1, vocabulary] float32.
  func decodedLogits(_ id: Int32, cache: KeyValueCache) throws -> Tensor {
    try makeLogits(of: hiddenState(of: id, cache: cache))
  }

  /// [1, hidden] behind the last layer, for a token that is added to the cache.
  private func hiddenState(of id: Int32, cache: KeyValueCache) throws -> Tensor {
    try validate([id], for: cache)
    try requireAllLayers(of: cache)
    if let distribution { return try distribution.hiddenState(of: id, cache: cache) }
    let hidden = try embed(token: id)
    try pass(token: hidden, cache: cache)
    return hidden
  }
}
