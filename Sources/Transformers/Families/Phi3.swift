import Checkpoints

/// Phi-3, Phi-3.5 and Phi-4-mini: no biases, queries, keys and values in one tensor, gate and up in
/// another, and the sliding window of config.json in every layer. The long ones scale by LongRoPE.
///
/// Source: transformers, `models/phi3`.
extension DecoderFamily {
  static let phi3 = DecoderFamily(
    modelType: "phi3",
    configure: { checkpoint in
      try DecoderConfiguration(
        checkpoint, biases: .none, partialRotaryFactor: 1,
        slidingWindow: { _ in checkpoint.configuration.slidingWindow })
    },
    weights: WeightTable(
      qkv: .stacked("self_attn.qkv_proj"), gateUp: .stacked("mlp.gate_up_proj")))
}
