package import Checkpoints

/// A checkpoint of two layers with random weights and a tokenizer of single bytes: enough to run
/// everything, and too little to say anything sensible.
package enum TinyCheckpoint {
  package static let layers = 2
  package static let heads = 2
  package static let context = 2048
  package static let vocabulary = 259

  /// - Parameters:
  ///   - layers: How many it has.
  ///   - configuration: Fields that replace those of config.json.
  ///   - experts: What stands in place of MLPs.
  ///   - poison: A value for one weight.
  ///   - type: What weights are stored in.
  ///   - withWeights: Whether there is a weight file at all.
  package static func write(
    to directory: TemporaryDirectory, name: String = "model", layers: Int = layers,
    configuration: [String: String] = [:], experts: Experts? = nil, poison: Float? = nil,
    type: ElementType = .float32, withWeights: Bool = true
  ) throws {
    try directory.makeDirectory(name)
    var fields = [
      "model_type": "\"llama\"", "architectures": "[\"LlamaForCausalLM\"]", "hidden_size": "64",
      "intermediate_size": "96", "num_hidden_layers": "\(layers)",
      "num_attention_heads": "\(heads)", "num_key_value_heads": "1", "head_dim": "64",
      "vocab_size": "\(vocabulary)", "max_position_embeddings": "\(context)",
      "rope_theta": "10000.0", "rms_norm_eps": "1e-5", "hidden_act": "\"silu\"",
      "tie_word_embeddings": "true", "eos_token_id": "258",
    ]
    fields.merge(experts?.configuration ?? [:]) { _, new in new }
    fields.merge(configuration) { _, new in new }
    let members = fields.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
    try directory.write("{\(members.joined(separator: ", "))}", to: "\(name)/config.json")
    try directory.write(tokenizer, to: "\(name)/tokenizer.json")
    try directory.write(tokenizerConfiguration, to: "\(name)/tokenizer_config.json")
    if withWeights {
      try SafetensorsWriter.write(
        tensors(poison: poison, layers: layers, experts: experts, type: type),
        to: directory.path("\(name)/model.safetensors"))
    }
  }

  /// Families with experts: four of 32, two for a token.
  package enum Experts: String, Sendable, CaseIterable {
    case qwen3 = "qwen3_moe"
    /// With a shared expert, and an MLP in the first layer.
    case glm4 = "glm4_moe"

    static let count = 4

    fileprivate var configuration: [String: String] {
      var fields = [
        "model_type": "\"\(rawValue)\"", "moe_intermediate_size": "32", "num_experts_per_tok": "2",
        "norm_topk_prob": "true",
      ]
      switch self {
      case .qwen3: fields["num_experts"] = "\(Self.count)"
      case .glm4:
        fields.merge([
          "n_routed_experts": "\(Self.count)", "n_shared_experts": "1",
          "first_k_dense_replace": "1", "n_group": "1", "topk_group": "1",
          "routed_scaling_factor": "1.5", "use_qk_norm": "false",
        ]) { _, new in new }
      }
      return fields
    }
  }

  private static func tensors(
    poison: Float?, layers: Int, experts: Experts?, type: ElementType
  ) -> [SafetensorsWriter.Tensor] {
    var state: UInt64 = 7
    func tensor(_ name: String, _ shape: [Int]) -> SafetensorsWriter.Tensor {
      let floats = (0..<shape.reduce(1, *)).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return shape.count == 1 ? 1 : (Float(state >> 40) / Float(1 << 23) - 1) * 0.2
      }
      return SafetensorsWriter.Tensor(name: name, shape: shape, floats: floats, as: type)
    }
    var tensors = [
      tensor("model.embed_tokens.weight", [vocabulary, 64]), tensor("model.norm.weight", [64]),
    ]
    for layer in 0..<layers {
      let prefix = "model.layers.\(layer)."
      tensors += [
        tensor(prefix + "input_layernorm.weight", [64]),
        tensor(prefix + "post_attention_layernorm.weight", [64]),
        tensor(prefix + "self_attn.q_proj.weight", [128, 64]),
        tensor(prefix + "self_attn.k_proj.weight", [64, 64]),
        tensor(prefix + "self_attn.v_proj.weight", [64, 64]),
        tensor(prefix + "self_attn.o_proj.weight", [64, 128]),
      ]
      func mlp(_ stem: String, _ width: Int) {
        tensors += [
          tensor(prefix + stem + ".gate_proj.weight", [width, 64]),
          tensor(prefix + stem + ".up_proj.weight", [width, 64]),
          tensor(prefix + stem + ".down_proj.weight", [64, width]),
        ]
      }
      guard let experts, experts == .qwen3 || layer > 0 else {
        mlp("mlp", 96)
        continue
      }
      tensors.append(tensor(prefix + "mlp.gate.weight", [Experts.count, 64]))
      for expert in 0..<Experts.count { mlp("mlp.experts.\(expert)", 32) }
      switch experts {
      case .qwen3:
        tensors += ["q", "k"].map { tensor(prefix + "self_attn.\($0)_norm.weight", [64]) }
      case .glm4:
        tensors.append(tensor(prefix + "mlp.gate.e_score_correction_bias", [Experts.count]))
        mlp("mlp.shared_experts", 32)
      }
    }
    if let poison {
      tensors[3] = SafetensorsWriter.Tensor(
        name: tensors[3].name, shape: [64], floats: Array(repeating: 1, count: 63) + [poison])
    }
    return tensors
  }

  /// The bytes in the alphabet of byte-level tokenizers: printable ones as themselves, the others
  /// from U+0100 on.
  package static var tokenizer: String {
    let printable = Set(33...126).union(161...172).union(174...255)
    var next: UInt32 = 256
    var members: [String] = []
    for byte in 0..<256 {
      var scalar = UInt32(byte)
      if !printable.contains(byte) {
        scalar = next
        next += 1
      }
      let escaped = String(scalar, radix: 16)
      let padded = String(repeating: "0", count: 4 - escaped.count) + escaped
      members.append("\"\\u\(padded)\": \(byte)")
    }
    let added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].enumerated().map { offset, text in
      """
      {"id": \(256 + offset), "content": "\(text)", "single_word": false, "lstrip": false, \
      "rstrip": false, "normalized": false, "special": true}
      """
    }
    return """
      {"version": "1.0", "added_tokens": [\(added.joined(separator: ", "))], "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
      "post_processor": null, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "vocab": {\(members.joined(separator: ", "))}, "merges": []}}
      """
  }

  private static let tokenizerConfiguration = #"""
    {"eos_token": "<|im_end|>", "chat_template": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"}
    """#
}
