import Compute

/// A decoding step of one or of several sequences: token r is the next one of the sequence of caches[r].
extension Transformer {
  /// The logits behind the tokens, [tokens, vocabulary] float32. The tokens are added to the caches.
  func computedLogits(
    behind ids: [Int32], caches: [KeyValueCache], workspace: RowWorkspace
  ) throws -> Tensor {
    let hidden = try embed(tokens: ids)
    try pass(tokens: hidden, caches: caches, workspace: workspace)
    return try decodedLogits(of: hidden)
  }

  /// Passes hidden states, [tokens, hidden], through the layers of the caches, in place, and adds the tokens
  /// to them.
  ///
  /// - Parameter workspace: For as many rows.
  /// - Throws: `ComputeError`; the caches are then as before.
  func pass(tokens hidden: Tensor, caches: [KeyValueCache], workspace: RowWorkspace) throws {
    let positions = caches.map(\.count)
    let rotaries = caches.map { rotaryEmbedding(of: $0, adding: 1) }
    for layer in caches.first?.layers ?? 0..<0 {
      let computation = LayerComputation(
        backend: backend, configuration: decoder, layer: weights[layer], rotary: rotaries[0],
        workspace: workspace)
      let opened = try zip(caches, positions).map { cache, position in
        try cache.open(layer, count: position + 1, for: .decode)
      }
      try computation.addAttention(
        toTokens: hidden, positions: positions, rotaries: rotaries,
        sequences: opened.map { withSinks($0.keysAndValues, layer: layer) },
        shape: decoder.attention[layer])
      for layer in opened { try layer.close() }
      try computation.addFeedForward(toTokens: hidden)
    }
    for (cache, position) in zip(caches, positions) { cache.count = position + 1 }
  }

  /// Logits from hidden states behind the last layer, [tokens, hidden].
  func decodedLogits(of hidden: Tensor) throws -> Tensor {
    let head = try weights.requireHead()
    let purpose = "the logits of \(hidden.rows) tokens"
    let normed = try backend.makeTensor(backend.activationType, hidden.shape, purpose: purpose)
    let logits = try backend.makeTensor(
      .float32, [hidden.rows, vocabularySize], purpose: purpose)
    try backend.normedLinear(
      hidden, norm: RowNorm(weight: head.norm, epsilon: decoder.normEpsilon), normed: normed,
      products: [RowProduct(weight: head.output.weight, bias: head.output.bias, y: logits)])
    return logits
  }

  /// Whether a step of a sequence is the same operations at every position: keys and values stay in place,
  /// and nothing is decided by the host.
  func canRepeatSteps(of cache: KeyValueCache) -> Bool {
    decoder.dualChunk == nil && cache.place == .device && cache.count > 0
  }
}
