import Checkpoints
import Compute

/// Qwen3 with experts (30B-A3B, 235B-A22B, Coder): attention as in Qwen3; a softmax over all experts,
/// of which the largest are taken. Layers that config.json leaves out have Qwen3's MLP.
///
/// Source: transformers, `models/qwen3_moe`.
extension DecoderFamily {
  static let qwen3MoE = DecoderFamily(
    modelType: "qwen3_moe",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      let isBiased = configuration.attentionBias ?? false
      return try DecoderConfiguration(
        checkpoint, biases: ProjectionBiases(qkv: isBiased, o: isBiased, mlp: false),
        experts: ExpertLayers(checkpoint, score: .softmax, normalizes: false),
        slidingWindow: { _ in
          configuration.useSlidingWindow ?? false ? configuration.slidingWindow ?? 4096 : nil
        })
    },
    weights: WeightTable(
      headNorms: (q: "self_attn.q_norm.weight", k: "self_attn.k_norm.weight")))
}
