import Compute

/// A decoding step: row r is the next token of sequence r. What a row gives does not depend on the rows
/// beside it.
extension LayerComputation {
  /// hidden += projection of the attention of norm(hidden). Keys and values are stored.
  ///
  /// - Parameters:
  ///   - positions: Where each row stands in its sequence.
  ///   - rotaries: Of each row.
  ///   - sequences: This layer of each sequence.
  func addAttention(
    toTokens hidden: Tensor, positions: [Int], rotaries: [RotaryEmbedding],
    sequences: [KeyValueLayer], shape: AttentionShape
  ) throws {
    try backend.storeProjections(
      of: hidden, norm: norm(layer.inputNorm), normed: workspace.normed,
      products: [
        product(layer.q, into: workspace.q), product(layer.k, into: workspace.k),
        product(layer.v, into: workspace.v),
      ],
      heads: ProjectedHeads(
        q: workspace.q, k: workspace.k, v: workspace.v,
        norms: layer.headNorms.map {
          HeadNorms(q: $0.q, k: $0.k, epsilon: configuration.normEpsilon)
        }, rotaries: rotaries), in: sequences, positions: positions)
    let outputNorm = layer.attentionOutputNorm
    try backend.rowAttention(
      q: workspace.q, positions: positions, sequences: sequences, shape: shape,
      projection: product(layer.o, into: outputNorm == nil ? hidden : workspace.output),
      accumulate: outputNorm == nil)
    if let outputNorm { try add(workspace.output, norm: outputNorm, to: hidden) }
  }

  /// hidden += feedForward(norm(hidden)).
  func addFeedForward(toTokens hidden: Tensor) throws {
    switch layer.feedForward {
    case .gated(let mlp):
      let width = mlp.gate.weight.rows
      let result = try backend.gatedLinear(
        hidden, norm: norm(layer.postAttentionNorm), normed: workspace.normed,
        gate: product(mlp.gate, into: workspace.gate.startingRows(width: width)),
        up: product(mlp.up, into: workspace.up.startingRows(width: width)),
        input: workspace.product?.startingRows(width: width))
      try addRowProjection(of: result, mlp.down, norm: layer.feedForwardOutputNorm, to: hidden)
    case .experts(let mlp):
      guard let space = workspace.experts, layer.feedForwardOutputNorm == nil else {
        throw ComputeError.shapeMismatch(
          operation: "experts", detail: "a workspace without experts, or a norm of their output")
      }
      try backend.addExperts(
        to: hidden, norm: norm(layer.postAttentionNorm),
        experts: RoutedExperts(
          router: mlp.router.weight, routerBias: mlp.router.bias, routingBias: mlp.routingBias,
          gate: mlp.gate, up: mlp.up, down: mlp.down,
          activation: configuration.experts?.activation ?? .silu, shared: mlp.shared.map(shared)),
        in: ExpertPlaces(
          x: workspace.output, normed: workspace.normed, logits: space.logits,
          routing: space.routing, inputs: space.inputs, products: space.products,
          outputs: space.outputs))
    }
  }

  private func shared(_ mlp: GatedMLP) -> SharedExpert {
    let width = mlp.gate.weight.rows
    return SharedExpert(
      gate: product(mlp.gate, into: workspace.gate.startingRows(width: width)),
      up: product(mlp.up, into: workspace.up.startingRows(width: width)),
      input: workspace.product?.startingRows(width: width), down: mlp.down.weight,
      downBias: mlp.down.bias)
  }

  private func norm(_ weight: Weight) -> RowNorm {
    RowNorm(weight: weight, epsilon: configuration.normEpsilon)
  }

  private func product(_ projection: Projection, into y: Tensor) -> RowProduct {
    RowProduct(
      weight: projection.weight, bias: projection.bias, y: y.reshaped([y.rows, y.rowCount]))
  }

  private func addRowProjection(
    of x: Tensor, _ projection: Projection, norm: Weight?, to hidden: Tensor
  ) throws {
    let x = x.reshaped([x.rows, x.rowCount])
    guard let norm else {
      return try backend.rowLinear(
        x, weight: projection.weight, bias: projection.bias, into: hidden, accumulate: true)
    }
    try backend.rowLinear(
      x, weight: projection.weight, bias: projection.bias, into: workspace.output,
      accumulate: false)
    try add(workspace.output, norm: norm, to: hidden)
  }

  private func add(_ output: Tensor, norm: Weight, to hidden: Tensor) throws {
    try normalize(output, norm, into: output)
    try backend.add(output, to: hidden)
  }
}
