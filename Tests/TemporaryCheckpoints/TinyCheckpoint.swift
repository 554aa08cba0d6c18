import Checkpoints

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
  ///   - poison: A value for one weight.
  ///   - withWeights: Whether there is a weight file at all.
  package static func write(
    to directory: TemporaryDirectory, name: String = "model", layers: Int = layers,
    configuration: [String: String] = [:], poison: Float? = nil, withWeights: Bool = true
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
    fields.merge(configuration) { _, new in new }
    let members = fields.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
    try directory.write("{\(members.joined(separator: ", "))}", to: "\(name)/config.json")
    try directory.write(tokenizer, to: "\(name)/tokenizer.json")
    try directory.write(tokenizerConfiguration, to: "\(name)/tokenizer_config.json")
    if withWeights {
      try SafetensorsWriter.write(
        tensors(poison: poison, layers: layers), to: directory.path("\(name)/model.safetensors"))
    }
  }

  private static func tensors(poison: Float?, layers: Int) -> [SafetensorsWriter.Tensor] {
    var state: UInt64 = 7
    func tensor(_ name: String, _ shape: [Int]) -> SafetensorsWriter.Tensor {
      let floats = (0..<shape.reduce(1, *)).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return shape.count == 1 ? 1 : (Float(state >> 40) / Float(1 << 23) - 1) * 0.2
      }
      return SafetensorsWriter.Tensor(name: name, shape: shape, floats: floats)
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
        tensor(prefix + "mlp.gate_proj.weight", [96, 64]),
        tensor(prefix + "mlp.up_proj.weight", [96, 64]),
        tensor(prefix + "mlp.down_proj.weight", [64, 96]),
      ]
    }
    if let poison {
      tensors[3] = SafetensorsWriter.Tensor(
        name: tensors[3].name, shape: [64], floats: Array(repeating: 1, count: 63) + [poison])
    }
    return tensors
  }

  /// The bytes in the alphabet of byte-level tokenizers: printable ones as themselves, the others
  /// from U+0100 on.
  private static var tokenizer: String {
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
