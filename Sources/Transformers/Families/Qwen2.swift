import Checkpoints

/// Qwen2 and Qwen2.5: biases on q, k and v alone.
///
/// Source: transformers, `models/qwen2`.
extension DecoderFamily {
  static let qwen2 = DecoderFamily(
    modelType: "qwen2",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      return try DecoderConfiguration(
        checkpoint, biases: ProjectionBiases(qkv: true, o: false, mlp: false),
        slidingWindow: { qwenSlidingWindow(configuration, layer: $0) })
    },
    weights: WeightTable())

  /// The sliding window counts only where `use_sliding_window` is true, and then in the layers that
  /// `layer_types` names or, without that list, from layer `max_window_layers` on. A window that is null is
  /// none.
  static func qwenSlidingWindow(_ configuration: ModelConfiguration, layer: Int) -> Int? {
    guard configuration.useSlidingWindow ?? false else { return nil }
    let isSliding =
      configuration.layerTypes.map { $0[layer] == "sliding_attention" }
      ?? (layer >= configuration.maxWindowLayers ?? 28)
    return isSliding ? configuration.slidingWindow : nil
  }
}
