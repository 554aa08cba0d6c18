package import Compute

/// What a stage of a pipeline does with one token that is decoded.
extension Transformer {
  /// Embeds a token: [1, hidden].
  package func embed(token id: Int32) throws -> Tensor {
    let hidden = try backend.makeTensor(
      backend.activationType, [1, decoder.hiddenSize], purpose: "the hidden state of a token")
    try backend.embed([id], table: weights.requireEmbedding(), into: hidden)
    return hidden
  }

  /// Passes the hidden state of a token, [1, hidden], through the layers of a cache, in place, and adds
  /// the token to it.
  ///
  /// - Throws: `ComputeError`; the cache is then as before.
  package func pass(token hidden: Tensor, cache: KeyValueCache) throws {
    let workspace = try workspace(decoding: cache)
    // Queries of dual chunk attention are turned differently for each region of keys.
    guard decoder.dualChunk != nil else {
      return try pass(tokens: hidden, caches: [cache], workspace: workspace)
    }
    let position = cache.count
    let rotary = rotaryEmbedding(of: cache, adding: 1)
    for layer in cache.layers {
      let computation = LayerComputation(
        backend: backend, configuration: decoder, layer: weights[layer], rotary: rotary,
        workspace: workspace)
      try cache.withLayer(layer, count: position + 1, for: .decode) { keysAndValues in
        try computation.storeKeysAndValues(of: hidden, in: keysAndValues, firstPosition: position)
        try computation.attendRow(
          hidden, position: position, keysAndValues: withSinks(keysAndValues, layer: layer),
          shape: decoder.attention[layer], dualChunk: decoder.dualChunk)
      }
      try computation.addAttentionOutput(to: hidden)
      try computation.addFeedForward(to: hidden)
    }
    cache.count = position + 1
  }

  /// What decoding of a sequence writes its intermediate results to, kept with its cache.
  func workspace(decoding cache: KeyValueCache) throws -> RowWorkspace {
    if let workspace = cache.decodeWorkspace { return workspace }
    let workspace = try RowWorkspace(rows: 1, configuration: decoder, backend: backend)
    cache.decodeWorkspace = workspace
    return workspace
  }

  /// Checks tokens and a cache before anything is computed.
  package func validate(stage ids: [Int32], for cache: KeyValueCache) throws {
    try validate(ids, for: cache)
  }
}
