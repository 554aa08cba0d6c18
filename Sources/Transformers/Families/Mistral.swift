import Checkpoints

/// Mistral 7B and what is published under `model_type` "mistral": no biases, and the sliding window
/// of config.json in every layer. A null or absent window means full attention.
///
/// Source: transformers, `models/mistral`.
extension DecoderFamily {
  static let mistral = DecoderFamily(
    modelType: "mistral",
    configure: { checkpoint in
      try DecoderConfiguration(
        checkpoint, biases: .none,
        slidingWindow: { _ in checkpoint.configuration.slidingWindow })
    },
    weights: WeightTable())
}
