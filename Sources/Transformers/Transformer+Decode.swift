import Compute

extension Transformer {
  /// Reads one more token and returns the logits of the token after it; attention is dense.
  ///
  /// - Throws: ``TransformerError`` when the id, the context or the cache does not allow it; the cache
  ///   is then as before.
  public func decode(_ id: Int32, cache: KeyValueCache) throws -> [Float] {
    try logits(of: hiddenState(of: id, cache: cache))
  }

  /// The same, and of the logits only the id that `sampler` chooses: on a device with memory of its own
  /// four bytes come back instead of a vocabulary.
  ///
  /// - Parameters:
  ///   - sampler: Its random numbers advance by one.
  ///   - seen: Distinct ids seen so far, prompt and answer; only the repetition penalty looks at them.
  /// - Throws: ``TransformerError/invalidLogits(problem:)`` besides.
  public func decode(
    _ id: Int32, cache: KeyValueCache, sampler: inout Sampler,
    seen: some Sequence<Int32> = EmptyCollection<Int32>()
  ) throws -> Int32 {
    let logits = try makeLogits(of: hiddenState(of: id, cache: cache))
    return try sampler.sample(logits, seen: seen, on: backend)
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
