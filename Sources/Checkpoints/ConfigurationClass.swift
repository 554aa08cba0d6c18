import JSON

/// What the configuration class of a model type gives to absent fields, and which fields it has.
///
/// An absent field and one that is null differ: `sliding_window` of Mistral is 4096 when absent and no
/// window when null. Source: transformers 5.24, `models/*/configuration_*.py`; the golden configurations
/// compare with it.
struct ConfigurationClass: Sendable {
  let modelType: String
  /// Nil: as many as query heads.
  var numKeyValueHeads: Int?
  /// Nil: the hidden size over the number of heads.
  var headDimension: Int?
  var rmsNormEpsilon = 1e-6
  /// Nil: no window.
  var slidingWindow: Int?
  /// Of a class that gives this field outside `rope_scaling` a value of its own, which wins over the one
  /// inside.
  var originalMaxPositionEmbeddings: Int?
  /// Fields of its own that change what is computed, beside those of every class. Nil: of no class that
  /// is known here, so that no field is called unknown.
  var fields: [String]?

  /// The class of a model type; one with the commonest defaults for a type that is not listed.
  static func of(_ modelType: String) -> ConfigurationClass {
    known.first { haveSameBytes($0.modelType, modelType) }
      ?? ConfigurationClass(modelType: modelType)
  }

  private static let known = [
    ConfigurationClass(modelType: "llama", fields: ["attention_bias", "mlp_bias"]),
    ConfigurationClass(
      modelType: "mistral", numKeyValueHeads: 8, slidingWindow: 4096, fields: ["sliding_window"]),
    ConfigurationClass(
      modelType: "qwen2", numKeyValueHeads: 32, slidingWindow: 4096,
      fields: ["sliding_window", "use_sliding_window", "max_window_layers", "layer_types"]),
    ConfigurationClass(
      modelType: "qwen3", numKeyValueHeads: 32, headDimension: 128, slidingWindow: 4096,
      fields: [
        "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
        "attention_bias",
      ]),
    ConfigurationClass(
      modelType: "phi3", rmsNormEpsilon: 1e-5, originalMaxPositionEmbeddings: 4096,
      fields: ["sliding_window"]),
    ConfigurationClass(
      modelType: "glm", numKeyValueHeads: 2, headDimension: 128, rmsNormEpsilon: 1.5625e-7,
      fields: ["attention_bias"]),
    ConfigurationClass(
      modelType: "glm4", numKeyValueHeads: 2, headDimension: 128, rmsNormEpsilon: 1.5625e-7,
      fields: ["attention_bias"]),
    ConfigurationClass(
      modelType: "seed_oss", numKeyValueHeads: 8, headDimension: 128,
      fields: ["attention_bias", "attention_out_bias", "mlp_bias"]),
    ConfigurationClass(
      modelType: "qwen3_moe", numKeyValueHeads: 4, slidingWindow: 4096,
      fields: [
        "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
        "attention_bias", "num_experts", "num_local_experts", "num_experts_per_tok",
        "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers",
      ]),
    ConfigurationClass(
      modelType: "glm4_moe", numKeyValueHeads: 8, rmsNormEpsilon: 1e-5,
      fields: [
        "attention_bias", "use_qk_norm", "n_routed_experts", "num_local_experts",
        "num_experts_per_tok",
        "moe_intermediate_size", "norm_topk_prob", "routed_scaling_factor", "n_group", "topk_group",
        "n_shared_experts", "first_k_dense_replace",
        // Layers that predict tokens beyond the next, which nobody asks for.
        "num_nextn_predict_layers", "num_mtp_layers",
      ]),
    // The class that such a checkpoint carries, after `ChatGLMFields` has renamed what it can.
    ConfigurationClass(
      modelType: "chatglm",
      fields: [
        "attention_bias", "mlp_bias", "add_qkv_bias", "rmsnorm", "post_layer_norm",
        "apply_residual_connection_post_layernorm", "multi_query_attention",
        "multi_query_group_num", "rope_ratio", "original_rope",
        // How sums are ordered and rounded.
        "apply_query_key_layer_scaling", "attention_softmax_in_fp32", "fp32_residual_connection",
        "bias_dropout_fusion", "classifier_dropout", "interleaved_qkv",
      ]),
  ]
}

// Fields that nobody here understands.
extension ConfigurationClass {
  /// Names of fields of the file that say something and that this class does not know, in the order of
  /// the file. A field that is null, false, 0 or empty says nothing.
  func unknownFields(of configuration: JSONValue) -> [String] {
    guard let fields, case .object(let members) = configuration else { return [] }
    let own = Set(fields.map(ByteString.init))
    return members.filter { member in
      let key = ByteString(member.key)
      return !own.contains(key) && !Self.common.contains(key) && !Self.silent.contains(key)
        && Self.saysSomething(member.value)
    }.map(\.key)
  }

  static func saysSomething(_ value: JSONValue) -> Bool {
    switch value {
    case .null, .boolean(false), .integer(0): false
    case .number(let number): number != 0
    case .string(let text): !text.isEmpty
    case .array(let values): !values.isEmpty
    case .object(let members): !members.isEmpty
    case .boolean(true), .integer: true
    }
  }

  /// Fields that are read here whatever the class.
  private static let common = Set(
    [
      "model_type", "architectures", "hidden_size", "intermediate_size", "num_hidden_layers",
      "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
      "max_position_embeddings", "rope_theta", "rope_scaling", "rope_parameters",
      "partial_rotary_factor", "original_max_position_embeddings", "dual_chunk_attention_config",
      "rms_norm_eps", "hidden_act",
      "tie_word_embeddings", "torch_dtype", "dtype", "bos_token_id", "eos_token_id",
      "quantization_config", "transformers_weights",
    ].map(ByteString.init))

  /// Fields that change nothing in what is computed for a prompt: of training, of loading, of other
  /// tasks, and of generation, which transformers leaves out of account here too.
  private static let silent = Set(
    [
      // Training.
      "initializer_range", "attention_dropout", "hidden_dropout", "residual_dropout", "embd_pdrop",
      "resid_pdrop", "embd_dropout", "gradient_checkpointing", "pretraining_tp", "use_mup",
      "router_aux_loss_coef", "output_router_logits",
      // Loading.
      "transformers_version", "_name_or_path", "name_or_path", "auto_map", "use_cache",
      "_attn_implementation", "attn_implementation", "_attn_implementation_autoset",
      "use_flash_attn", "use_flash_attention", "tokenizer_class", "custom_pipelines",
      "unsloth_version", "unsloth_fixed", "unsloth_tiled_mlp", "_commit_hash", "model_name",
      "transformers.js_config", "mlx_version", "tensor_parallel", "base_model_tp_plan",
      // Other tasks and outputs.
      "id2label", "label2id", "num_labels", "problem_type", "return_dict", "output_attentions",
      "output_hidden_states", "chunk_size_feed_forward", "is_encoder_decoder", "is_decoder",
      "add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder",
      "finetuning_task", "task_specific_params", "prefix", "pruned_heads", "torchscript",
      "use_bfloat16", "sep_token_id", "pad_token_id", "unk_token_id", "decoder_start_token_id",
      "language", "license",
      // Generation; generation_config.json counts.
      "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
      "diversity_penalty", "temperature", "top_k", "top_p", "min_p", "typical_p",
      "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
      "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
      "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
      "begin_suppress_tokens",
    ].map(ByteString.init))
}
