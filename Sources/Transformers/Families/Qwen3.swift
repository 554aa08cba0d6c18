import Checkpoints

/// Qwen3, the dense models: each query head and each key head is normalised before it is turned;
/// biases only where config.json says so, and the sliding window as in Qwen2.
///
/// Source: transformers, `models/qwen3`.
extension DecoderFamily {
  static let qwen3 = DecoderFamily(
    modelType: "qwen3",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      let isBiased = configuration.attentionBias ?? false
      return try DecoderConfiguration(
        checkpoint, biases: ProjectionBiases(qkv: isBiased, o: isBiased, mlp: false),
        slidingWindow: { qwenSlidingWindow(configuration, layer: $0) })
    },
    weights: WeightTable(
      headNorms: (q: "self_attn.q_norm.weight", k: "self_attn.k_norm.weight")))
}
