package import Compute
import Synchronization

/// What a stage of a pipeline does with one token that is decoded.
extension Transformer {
  /// Embeds tokens: [tokens, hidden].
  package func embed(tokens ids: [Int32]) throws -> Tensor {
    let hidden = try backend.makeTensor(
      backend.activationType, [ids.count, decoder.hiddenSize],
      purpose: "the hidden states of \(ids.count) tokens")
    try backend.embed(ids, table: weights.requireEmbedding(), into: hidden)
    return hidden
  }

  /// Whether tokens of sequences can be rows of one step.
  package func canDecodeTogether(_ caches: [KeyValueCache]) -> Bool {
    decoder.dualChunk == nil && caches.allSatisfy { $0.type == caches[0].type && $0.count > 0 }
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

/// Passes tokens of one or of several sequences through the layers of a stage; linear layers read their weights
/// once for all of them.
package final class StageDecoder: Sendable {
  private let transformer: Transformer
  /// For the most rows so far.
  private let workspace = Mutex<RowWorkspace?>(nil)

  package init(_ transformer: Transformer) { self.transformer = transformer }

  /// Passes hidden states, [tokens, hidden], through the layers of the caches, in place, and adds the tokens
  /// to them.
  ///
  /// - Parameter caches: One for each token; several as ``Transformer/canDecodeTogether(_:)`` allows.
  /// - Throws: `ComputeError`; the caches are then as before.
  package func pass(tokens hidden: Tensor, caches: [KeyValueCache]) throws {
    guard caches.count > 1 else {
      return try transformer.pass(token: hidden, cache: caches[0])
    }
    try workspace.withLock { made in
      let workspace: RowWorkspace
      if let made, made.rows >= caches.count {
        workspace = made.prefix(caches.count)
      } else {
        workspace = try RowWorkspace(
          rows: caches.count, configuration: transformer.decoder, backend: transformer.backend)
        made = workspace
      }
      try transformer.pass(tokens: hidden, caches: caches, workspace: workspace)
    }
  }
}
