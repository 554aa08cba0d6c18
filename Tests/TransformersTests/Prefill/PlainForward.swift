import Checkpoints
import Compute
import SparseAttention
import Transformers

/// Chunked sparse prefill as its definition reads, for the random Llama checkpoints of these tests:
/// all rows of a chunk at once, no blocks, no workspace, weights by their names.
struct PlainForward {
  let checkpoint: Checkpoint
  let backend: ReferenceBackend
  let planner: AttentionPlanner

  /// Logits of every position, [tokens * vocabulary].
  func logits(_ ids: [Int32], chunks: [Range<Int>]) throws -> [Float] {
    let configuration = checkpoint.configuration
    let (heads, keyValueHeads) = (configuration.numAttentionHeads, configuration.numKeyValueHeads)
    let (headDim, hidden) = (configuration.headDimension, configuration.hiddenSize)
    let shape = AttentionShape(queryHeads: heads, keyValueHeads: keyValueHeads, headDim: headDim)
    let rotary = RotaryEmbedding(
      inverseFrequencies: RotaryScaling(
        dimensions: headDim, theta: configuration.ropeTheta,
        maxPositionEmbeddings: configuration.maxPositionEmbeddings, scaling: .none
      ).embedding(forLength: 1).inverseFrequencies)
    let memory = SelectionMemory()
    let caches = try (0..<configuration.numHiddenLayers).map { _ in
      (try zeros(keyValueHeads, ids.count, headDim), try zeros(keyValueHeads, ids.count, headDim))
    }
    var logits: [Float] = []
    for chunk in chunks {
      let rows = chunk.count
      let x = try zeros(rows, hidden)
      let table = try weight("model.embed_tokens.weight")
      try backend.embed(Array(ids[chunk]), table: table, into: x)
      for (layer, cache) in caches.enumerated() {
        let prefix = "model.layers.\(layer)."
        let normed = try norm(x, prefix + "input_layernorm.weight")
        let q = try project(normed, prefix + "self_attn.q_proj.weight", rows, heads, headDim)
        let k = try project(
          normed, prefix + "self_attn.k_proj.weight", rows, keyValueHeads, headDim)
        let v = try project(
          normed, prefix + "self_attn.v_proj.weight", rows, keyValueHeads, headDim)
        try backend.rotate(q, rotary, firstPosition: chunk.lowerBound)
        try backend.rotate(k, rotary, firstPosition: chunk.lowerBound)
        let keysAndValues = KeyValueLayer(
          keys: cache.0, values: cache.1, count: chunk.upperBound)
        try backend.store(k: k, v: v, in: keysAndValues, firstPosition: chunk.lowerBound)
        let (index, _) = try planner.makeIndex(
          layer: layer,
          ChunkInputs(
            shape: shape, layer: keysAndValues, firstPosition: chunk.lowerBound, rows: rows,
            lastRows: q.slice(rows: max(0, rows - 64)..<rows),
            estimates: .host(
              HostQueryEstimates(
                pooledQueries: try BlockSparse.pooledQueries(
                  q, firstPosition: chunk.lowerBound, backend: backend)))),
          backend: backend, memory: memory)
        let o = try zeros(rows, heads, headDim)
        try backend.attention(
          q: q, firstPosition: chunk.lowerBound, layer: keysAndValues, shape: shape, index: index,
          into: o, logSumExp: nil)
        try add(o.reshaped([rows, heads * headDim]), prefix + "self_attn.o_proj.weight", to: x)
        let y = try norm(x, prefix + "post_attention_layernorm.weight")
        let gate = try project(y, prefix + "mlp.gate_proj.weight", rows, 48)
        let up = try project(y, prefix + "mlp.up_proj.weight", rows, 48)
        try backend.swiGLU(gate: gate, up: up)
        try add(gate, prefix + "mlp.down_proj.weight", to: x)
      }
      logits += try backend.read(
        try project(
          try norm(x, "model.norm.weight"), "model.embed_tokens.weight", rows,
          configuration.vocabularySize))
    }
    return logits
  }

  private func zeros(_ shape: Int...) throws -> Tensor {
    try backend.makeTensor(.float32, shape, purpose: "a test")
  }

  private func weight(_ name: String) throws -> Weight {
    let view = try checkpoint.tensor(named: name)
    let tensor = try backend.makeTensor(.float32, view.shape, purpose: "a test")
    try backend.write(view.floats(), to: tensor)
    return Weight(tensor)
  }

  private func norm(_ x: Tensor, _ name: String) throws -> Tensor {
    let y = try backend.makeTensor(.float32, x.shape, purpose: "a test")
    try backend.rmsNorm(
      x, weight: try weight(name), epsilon: Float(checkpoint.configuration.rmsNormEpsilon),
      into: y)
    return y
  }

  private func project(_ x: Tensor, _ name: String, _ shape: Int...) throws -> Tensor {
    let y = try backend.makeTensor(.float32, shape, purpose: "a test")
    try backend.linear(
      x, weight: try weight(name), bias: nil, into: y.reshaped([y.rows, y.rowCount]),
      accumulate: false)
    return y
  }

  private func add(_ x: Tensor, _ name: String, to y: Tensor) throws {
    try backend.linear(x, weight: try weight(name), bias: nil, into: y, accumulate: true)
  }
}
