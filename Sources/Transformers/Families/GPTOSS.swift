import Checkpoints
import Compute

/// gpt-oss (20b, 120b): a sink in the softmax of every head; layers with a sliding window and without one in
/// turn; biases everywhere; experts alone, with a clamped SwiGLU, of which a softmax over the chosen ones' logits
/// weighs the outputs.
///
/// The window of 128 is narrower than what a selector would keep of it: layers with one compute all of it, and
/// selectors are asked in the others.
///
/// Source: transformers, `models/gpt_oss`.
extension DecoderFamily {
  static let gptOSS = DecoderFamily(
    modelType: "gpt_oss",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      let isBiased = configuration.attentionBias ?? true
      let types = try gptOSSLayerTypes(checkpoint)
      guard configuration.slidingWindow != nil || !types.contains("sliding_attention") else {
        throw TransformerError.unsupported(
          directory: checkpoint.path, field: "sliding_window",
          problem: "is null where layers slide: give the window, 128 in what is published")
      }
      return try DecoderConfiguration(
        checkpoint, biases: ProjectionBiases(qkv: isBiased, o: isBiased, mlp: false),
        hasSinks: true, computesWholeWindows: true,
        experts: ExpertLayers(
          checkpoint, score: .softmax, normalizes: true,
          activation: .clampedSwiGLU(
            alpha: Float(configuration.experts?.activationAlpha ?? 1.702),
            limit: Float(configuration.experts?.activationLimit ?? 7)),
          isBiased: true),
        slidingWindow: { types[$0] == "sliding_attention" ? configuration.slidingWindow : nil })
    },
    weights: WeightTable(
      sinks: "self_attn.sinks",
      experts: ExpertNames(router: "mlp.router", routingBias: "mlp.router.bias")))

  /// The kind of each layer; without `layer_types` every second one is full, beginning with a sliding one.
  private static func gptOSSLayerTypes(_ checkpoint: any WeightSource) throws -> [String] {
    let configuration = checkpoint.configuration
    guard let types = configuration.layerTypes else {
      return (0..<configuration.numHiddenLayers).map {
        $0 % 2 == 0 ? "sliding_attention" : "full_attention"
      }
    }
    for type in types where type != "sliding_attention" && type != "full_attention" {
      throw TransformerError.unsupported(
        directory: checkpoint.path, field: "layer_types",
        problem: "names \(type): known are sliding_attention and full_attention")
    }
    return types
  }
}
