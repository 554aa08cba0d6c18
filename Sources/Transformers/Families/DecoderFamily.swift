import Checkpoints

/// One family of decoder models: how its config.json is understood, and its table of weight names.
///
/// Families differ in these two alone; the arithmetic is shared. To add one, write a file like
/// `Llama.swift` and name it in ``known``.
struct DecoderFamily: Sendable {
  /// The `model_type` of config.json.
  let modelType: String
  /// What the family makes of the fields of config.json.
  let configure: @Sendable (Checkpoint) throws -> DecoderConfiguration
  /// The names of its weights.
  let weights: WeightTable

  /// Every family that can be run.
  static let known: [DecoderFamily] = [.llama, .mistral, .qwen2]

  /// The family of a checkpoint. Throws ``TransformerError/unknownArchitecture``.
  static func of(_ checkpoint: Checkpoint) throws -> DecoderFamily {
    let modelType = checkpoint.configuration.modelType
    guard let family = known.first(where: { $0.modelType == modelType }) else {
      throw TransformerError.unknownArchitecture(
        directory: checkpoint.directory, found: modelType, known: known.map(\.modelType))
    }
    return family
  }
}

/// Where the weights of a family lie in its checkpoints.
///
/// A projection is stored as `name.weight`, [outputs, inputs], and, where biased, `name.bias`,
/// [outputs]. Names below `layer` are those of layer n behind the prefix `layer` + "n.".
struct WeightTable: Sendable {
  var embedding = "model.embed_tokens.weight"
  var layer = "model.layers."
  var inputNorm = "input_layernorm.weight"
  var q = "self_attn.q_proj"
  var k = "self_attn.k_proj"
  var v = "self_attn.v_proj"
  var o = "self_attn.o_proj"
  var postAttentionNorm = "post_attention_layernorm.weight"
  var gate = "mlp.gate_proj"
  var up = "mlp.up_proj"
  var down = "mlp.down_proj"
  var norm = "model.norm.weight"
  /// Not there when the embedding is the output layer too.
  var output = "lm_head.weight"
}
