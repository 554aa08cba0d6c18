import Compute

extension LayerComputation {
  /// hidden += the outputs of each row's experts, x as the workspace holds it.
  func add(_ mlp: ExpertMLP, to hidden: Tensor) throws {
    guard let space = workspace.experts, layer.feedForwardOutputNorm == nil else {
      throw ComputeError.shapeMismatch(
        operation: "experts", detail: "a workspace without experts, or a norm of their output")
    }
    // Routers read activations, whatever linear layers read.
    let x = workspace.output
    if backend.capabilities.hasNarrowLinearInputs {
      try normalize(hidden, layer.postAttentionNorm, into: x)
    }
    try timed {
      try backend.linear(
        x, weight: mlp.router.weight, bias: mlp.router.bias, into: space.logits, accumulate: false)
      try backend.route(space.logits, bias: mlp.routingBias, into: space.routing)
      try backend.gatherRows(workspace.normed, by: space.routing, into: space.inputs)
      try backend.gatedExperts(
        space.inputs, gate: mlp.gate, up: mlp.up,
        activation: configuration.experts?.activation ?? .silu, by: space.routing,
        into: space.products)
      try backend.expertLinear(
        space.products, weight: mlp.down, by: space.routing, into: space.outputs)
    }
    if let shared = mlp.shared { try add(shared, to: hidden) }
    try timed { try backend.addExperts(space.outputs, by: space.routing, to: hidden) }
  }
}
