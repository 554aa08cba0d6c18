import Checkpoints
import Compute

/// GLM-4 in the layouts in which it is published: half of each head turns, neighbouring elements
/// making a pair; few key-value heads; biases on q, k and v; gate and up in one tensor.
///
/// Source: transformers, `models/glm` and `models/glm4`; the `modeling_chatglm.py` that checkpoints
/// of the third layout carry.
extension DecoderFamily {
  /// GLM-4-9B as transformers lays it out.
  static let glm = DecoderFamily(
    modelType: "glm",
    configure: { try glmConfiguration($0, biasedByDefault: true) },
    weights: WeightTable(gateUp: .stacked("mlp.gate_up_proj")))

  /// GLM-4-0414, which normalises what attention and MLP give before it is added.
  static let glm4 = DecoderFamily(
    modelType: "glm4",
    configure: { try glmConfiguration($0, biasedByDefault: true) },
    weights: WeightTable(
      attentionOutputNorm: "post_self_attn_layernorm.weight",
      gateUp: .stacked("mlp.gate_up_proj"),
      feedForwardOutputNorm: "post_mlp_layernorm.weight"))

  /// GLM-4-9B (the model of a million tokens among them) and ChatGLM3 in the layout of their own
  /// code; `ChatGLMFields` reads their config.json.
  static let chatGLM = DecoderFamily(
    modelType: "chatglm",
    configure: { try glmConfiguration($0, biasedByDefault: false) },
    weights: WeightTable(
      embedding: "transformer.embedding.word_embeddings.weight",
      layer: "transformer.encoder.layers.",
      qkv: .stacked("self_attention.query_key_value"),
      o: "self_attention.dense",
      gateUp: .stacked("mlp.dense_h_to_4h"),
      down: "mlp.dense_4h_to_h",
      norm: "transformer.encoder.final_layernorm.weight",
      output: "transformer.output_layer.weight"))

  private static func glmConfiguration(
    _ checkpoint: any WeightSource, biasedByDefault: Bool
  ) throws -> DecoderConfiguration {
    let configuration = checkpoint.configuration
    // The classes of transformers have no such field and no such biases.
    let isBiased = biasedByDefault ? false : configuration.mlpBias ?? false
    return try DecoderConfiguration(
      checkpoint,
      biases: ProjectionBiases(
        qkv: configuration.attentionBias ?? biasedByDefault, o: isBiased, mlp: isBiased),
      partialRotaryFactor: 0.5, rotaryLayout: .interleaved)
  }
}
