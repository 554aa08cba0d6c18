import Checkpoints

/// Llama 2, 3, 3.1 and later, and everything published under `model_type` "llama" (Yi, the built-in
/// model). Biases only where config.json says so; no sliding window.
///
/// Source: transformers, `models/llama`.
extension DecoderFamily {
  static let llama = DecoderFamily(
    modelType: "llama",
    configure: { checkpoint in
      try DecoderConfiguration(
        checkpoint,
        biases: ProjectionBiases(
          qkv: checkpoint.configuration.attentionBias ?? false,
          o: checkpoint.configuration.attentionBias ?? false,
          mlp: checkpoint.configuration.mlpBias ?? false))
    },
    weights: WeightTable())
}
