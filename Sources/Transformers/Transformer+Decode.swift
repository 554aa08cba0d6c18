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
    let position = cache.count
    let rotary = rotaryEmbedding(of: cache, adding: 1)
    let workspace =
      try cache.decodeWorkspace
      ?? RowWorkspace(rows: 1, configuration: decoder, backend: backend)
    cache.decodeWorkspace = workspace
    let hidden = try backend.makeTensor(
      backend.activationType, [1, decoder.hiddenSize], purpose: "the hidden state of a token")
    try backend.embed([id], table: weights.embedding, into: hidden)
    for (layer, layerWeights) in weights.layers.enumerated() {
      let computation = LayerComputation(
        backend: backend, configuration: decoder, layer: layerWeights, rotary: rotary,
        workspace: workspace)
      try cache.withLayer(layer, count: position + 1, for: .decode) { keysAndValues in
        try computation.storeKeysAndValues(of: hidden, in: keysAndValues, firstPosition: position)
        try computation.attendRow(
          hidden, position: position, keysAndValues: keysAndValues,
          shape: decoder.attention[layer], dualChunk: decoder.dualChunk)
      }
      try computation.addAttentionOutput(to: hidden)
      try computation.addFeedForward(to: hidden)
    }
    cache.count = position + 1
    return hidden
  }
}
