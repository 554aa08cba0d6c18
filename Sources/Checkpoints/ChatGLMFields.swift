import JSON

/// The `config.json` that GLM-4 models had before transformers knew them: the fields of their own
/// code (`model_type` "chatglm"), under the names that transformers gives the same numbers in `glm`.
///
/// Source: the `configuration_chatglm.py` and `modeling_chatglm.py` that such a checkpoint carries;
/// transformers, `models/glm/convert_glm_weights_to_hf.py`.
enum ChatGLMFields {
  /// Name there, name in `glm`.
  private static let names = [
    ("num_layers", "num_hidden_layers"), ("padded_vocab_size", "vocab_size"),
    ("ffn_hidden_size", "intermediate_size"), ("kv_channels", "head_dim"),
    ("seq_length", "max_position_embeddings"), ("layernorm_epsilon", "rms_norm_eps"),
    ("add_bias_linear", "mlp_bias"),
  ]

  /// Settings of the published models; no others are supported.
  private static let expected = [
    ("rmsnorm", true), ("post_layer_norm", true),
    ("apply_residual_connection_post_layernorm", false),
  ]

  /// The configuration with renamed fields; any other than of `model_type` "chatglm" as it is.
  static func renamed(_ json: JSONValue, file: String) throws(CheckpointError) -> JSONValue {
    guard case .object(let members) = json, json["model_type"] == .string("chatglm") else {
      return json
    }
    let fields = try FieldReader(file: file, object: json)
    for (field, value) in expected where try fields.boolean(field) ?? value != value {
      throw fields.failure(field, "is \(!value): known is \(value) alone")
    }
    var renamed = members.map { member in
      guard let name = names.first(where: { haveSameBytes($0.0, member.key) }) else {
        return member
      }
      return JSONValue.Member(key: name.1, value: member.value)
    }
    func add(_ key: String, _ value: JSONValue) {
      if json[key] == nil { renamed.append(.init(key: key, value: value)) }
    }
    // Where key-value heads are not shared there are as many as query heads.
    let isShared = try fields.boolean("multi_query_attention") ?? false
    if isShared, let groups = fields.value("multi_query_group_num") {
      add("num_key_value_heads", groups)
    }
    let allBiases = try fields.boolean("add_bias_linear") ?? false
    let attentionBias = try fields.boolean("add_qkv_bias") ?? false
    add("attention_bias", .boolean(attentionBias || allBiases))
    // Long contexts stretch the base and leave the rest as it is.
    let ratio = try fields.number("rope_ratio", in: 1e-3...1e9) ?? 1
    add("rope_theta", .number(10_000 * ratio))
    return .object(renamed)
  }
}
