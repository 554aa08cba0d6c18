/// The kinds of models that GGUF files are read of. The raw value is `general.architecture`.
///
/// Source: the Python package `gguf`, `constants.py` and `tensor_mapping.py`; llama.cpp,
/// `conversion/`.
enum GGUFArchitecture: String, CaseIterable {
  /// Llama, and Mistral with or without a window.
  case llama
  case qwen2
  case qwen3
  case qwen3moe
  case phi3
  case glm4
  case glm4moe
  case gptOSS = "gpt-oss"

  /// Whether the rows of q and k were reordered, so that the two elements of a pair that turns are
  /// neighbours. GLM's own checkpoints have neighbouring pairs and are not reordered.
  var hasInterleavedRows: Bool { self == .llama }

  /// The names of a layer's tensors, without "weight" or "bias": the file's behind `blk.N.`, and Hugging
  /// Face's behind `model.layers.N.`.
  private var layerNames: [(file: String, name: String)] {
    let shared = [
      ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"),
      ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"),
      ("attn_qkv", "self_attn.qkv_proj"), ("attn_output", "self_attn.o_proj"),
      ("ffn_norm", "post_attention_layernorm"), ("ffn_down", "mlp.down_proj"),
    ]
    let gated = [("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj")]
    let headNorms = [("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm")]
    // A tensor for all experts.
    let experts = [
      ("ffn_gate_inp", "mlp.gate"), ("ffn_gate_exps", "mlp.experts.gate_proj"),
      ("ffn_up_exps", "mlp.experts.up_proj"), ("ffn_down_exps", "mlp.experts.down_proj"),
    ]
    // Gate above up in one tensor.
    let stacked = [("ffn_up", "mlp.gate_up_proj")]
    switch self {
    case .llama, .qwen2: return shared + gated
    case .qwen3: return shared + gated + headNorms
    case .qwen3moe:
      return shared + gated + headNorms + experts
    case .glm4moe:
      // The norm before the MLP has a name of its own there.
      var names = shared.filter { $0.0 != "ffn_norm" }
      names += gated
      names += headNorms
      names += experts
      names += [
        ("post_attention_norm", "post_attention_layernorm"),
        ("exp_probs_b", "mlp.gate.e_score_correction_bias"),
        ("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
        ("ffn_up_shexp", "mlp.shared_experts.up_proj"),
        ("ffn_down_shexp", "mlp.shared_experts.down_proj"),
      ]
      return names
    case .gptOSS:
      // The norm before the experts has the name of one behind attention.
      var names = shared.filter { $0.0 != "ffn_norm" }
      names += experts.map { $0.0 == "ffn_gate_inp" ? ($0.0, "mlp.router") : $0 }
      names += [
        ("post_attention_norm", "post_attention_layernorm"), ("attn_sinks", "self_attn.sinks"),
      ]
      return names
    case .phi3: return shared + stacked
    case .glm4:
      return shared + stacked + [
        ("post_attention_norm", "post_self_attn_layernorm"),
        ("post_ffw_norm", "post_mlp_layernorm"),
      ]
    }
  }

  /// Hugging Face's name for every tensor of a file; a tensor that is not a weight there (the
  /// frequencies of rotary embeddings) keeps the file's.
  func names(of tensors: some Sequence<String>) -> [(file: String, name: String)] {
    let layerNames = Dictionary(uniqueKeysWithValues: layerNames.map { ($0.file, $0.name) })
    let names = [
      "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
      "output.weight": "lm_head.weight",
    ]
    return tensors.map { tensor in
      if let name = names[tensor] { return (tensor, name) }
      let parts = tensor.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count == 4, parts[0] == "blk", parts[3] == "weight" || parts[3] == "bias",
        let name = layerNames[String(parts[2])]
      else { return (tensor, tensor) }
      // What Hugging Face calls so without a word behind.
      if name.hasSuffix("_bias") || name.hasSuffix(".sinks") {
        return (tensor, "model.layers.\(parts[1]).\(name)")
      }
      return (tensor, "model.layers.\(parts[1]).\(name).\(parts[3])")
    }
  }
}
