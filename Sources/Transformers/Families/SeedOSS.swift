import Checkpoints

/// Seed-OSS: Llama with biases on q, k and v, and elsewhere where config.json says so.
///
/// Source: transformers, `models/seed_oss`.
extension DecoderFamily {
  static let seedOSS = DecoderFamily(
    modelType: "seed_oss",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      return try DecoderConfiguration(
        checkpoint,
        biases: ProjectionBiases(
          qkv: configuration.attentionBias ?? true,
          o: configuration.attentionOutputBias ?? false,
          mlp: configuration.mlpBias ?? false))
    },
    weights: WeightTable())
}
