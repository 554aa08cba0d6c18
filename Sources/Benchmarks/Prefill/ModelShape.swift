package import Checkpoints
import JSON
import MInference

/// Shapes of published models, for measuring speed without their weights.
package enum ModelShape {
  /// The names that ``checkpoint(named:)`` knows.
  package static var names: [String] { published.keys.sorted() }

  /// The fields of config.json that decide sizes, from the models' cards.
  private static let published: [String: String] = [
    // Qwen3-30B-A3B-Instruct-2507 in its 1M mode: chunk and local size as in its config_1m.json.
    "qwen3-30b-a3b-1m": """
    {"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
     "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
     "norm_topk_prob": true, "num_hidden_layers": 48, "num_attention_heads": 32,
     "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
     "max_position_embeddings": 2097152, "rope_theta": 10000000.0, "rms_norm_eps": 1e-06,
     "hidden_act": "silu", "tie_word_embeddings": false,
     "dual_chunk_attention_config": {"chunk_size": 131072, "local_size": 4096,
     "original_max_position_embeddings": 131072}}
    """,
    // Llama-3-8B with the rotary base of its longest continuation (Gradient, 1048k).
    "llama-3-8b": """
    {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
     "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
     "vocab_size": 128256, "max_position_embeddings": 2097152, "rope_theta": 3580165449.0,
     "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": false}
    """,
    "qwen2.5-1.5b": """
    {"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
     "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
     "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta": 1000000.0,
     "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": true}
    """,
    "qwen2.5-7b": """
    {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
     "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
     "vocab_size": 152064, "max_position_embeddings": 2097152, "rope_theta": 10000000.0,
     "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": false}
    """,
    // Qwen3-30B-A3B-Instruct-2507 without the chunks of its 1M mode.
    "qwen3-30b-a3b": """
    {"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
     "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
     "norm_topk_prob": true, "num_hidden_layers": 48, "num_attention_heads": 32,
     "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
     "max_position_embeddings": 2097152, "rope_theta": 10000000.0, "rms_norm_eps": 1e-06,
     "hidden_act": "silu", "tie_word_embeddings": false}
    """,
    "glm-4.5-air": """
    {"model_type": "glm4_moe", "hidden_size": 4096, "intermediate_size": 10944,
     "moe_intermediate_size": 1408, "n_routed_experts": 128, "num_experts_per_tok": 8,
     "n_shared_experts": 1, "first_k_dense_replace": 1, "norm_topk_prob": true,
     "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1, "use_qk_norm": false,
     "num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8,
     "head_dim": 128, "partial_rotary_factor": 0.5, "attention_bias": true,
     "vocab_size": 151552, "max_position_embeddings": 2097152, "rope_theta": 1000000.0,
     "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": false}
    """,
    // gpt-oss of both sizes; a longer context than the published 131,072 for measuring alone.
    "gpt-oss-20b": gptOSS(layers: 24, experts: 32),
    "gpt-oss-120b": gptOSS(layers: 36, experts: 128),
  ]

  private static func gptOSS(layers: Int, experts: Int) -> String {
    """
    {"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
     "num_local_experts": \(experts), "num_experts_per_tok": 4, "swiglu_limit": 7.0,
     "num_hidden_layers": \(layers), "num_attention_heads": 64, "num_key_value_heads": 8,
     "head_dim": 64, "attention_bias": true, "sliding_window": 128, "vocab_size": 201088,
     "max_position_embeddings": 2097152, "rope_theta": 150000.0,
     "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
       "truncate": false, "original_max_position_embeddings": 4096},
     "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": false}
    """
  }

  /// A checkpoint without weights: of a published shape, or of a config.json.
  ///
  /// - Throws: `CheckpointError` for a file that is not there or not one.
  package static func checkpoint(named name: String) throws -> Checkpoint {
    let configuration: ModelConfiguration
    if let text = published[name.lowercased()] {
      configuration = try ModelConfiguration(
        json: JSONValue(parsing: Array(text.utf8)), file: name)
    } else {
      configuration = try ModelConfiguration(file: name)
    }
    return try Checkpoint(shapeOf: configuration, named: name)
  }
}
