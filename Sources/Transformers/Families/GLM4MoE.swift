import Checkpoints
import Compute

/// GLM-4.5, GLM-4.5-Air and GLM-4.6: half of each head turns, halves making pairs; biases on q, k and v
/// where config.json says so; queries and keys normalised in the large ones; sigmoid scores with a bias
/// for the choice, one shared expert, and ordinary MLPs in the first layers. What checkpoints have
/// beyond the layers, for predicting several tokens, is left alone.
///
/// Source: transformers, `models/glm4_moe`.
extension DecoderFamily {
  static let glm4MoE = DecoderFamily(
    modelType: "glm4_moe",
    configure: { checkpoint in
      let configuration = checkpoint.configuration
      return try DecoderConfiguration(
        checkpoint,
        biases: ProjectionBiases(
          qkv: configuration.attentionBias ?? false, o: false, mlp: false),
        hasHeadNorms: configuration.experts?.normalizesHeads ?? false, partialRotaryFactor: 0.5,
        experts: ExpertLayers(
          checkpoint, score: .sigmoid, normalizes: true, sharesByDefault: 1, denseByDefault: 1))
    },
    weights: WeightTable(
      headNorms: (q: "self_attn.q_norm.weight", k: "self_attn.k_norm.weight"),
      experts: ExpertNames(
        routingBias: "mlp.gate.e_score_correction_bias", shared: "mlp.shared_experts")))
}
