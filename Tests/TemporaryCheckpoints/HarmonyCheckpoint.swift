package import Checkpoints

/// A checkpoint that thinks "Hm." and answers "Yes." in the harmony format, once to a conversation; from then on it
/// answers alone.
///
/// Its layer has no MLP and attends to all positions alike. What a token leads to is read from its embedding;
/// attention adds a coordinate that says whether "Hm." has come. Conversations have up to 80 tokens.
package enum HarmonyCheckpoint {
  package static let reasoning = "Hm."
  package static let answer = "Yes."

  /// In the order of their ids, which are those of control characters.
  private static let markers = [
    "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>",
  ]
  private static let words = ["assistant", "analysis", "final", reasoning, answer]
  private static let firstWord = 14
  /// Coordinates of hidden states: one for each token that leads somewhere, these two for the others.
  private static let (hasThought, otherToken) = (62, 63)

  package static func write(to directory: TemporaryDirectory, name: String = "model") throws {
    try TinyCheckpoint.write(
      to: directory, name: name, layers: 1,
      configuration: [
        "tie_word_embeddings": "false", "eos_token_id": "\(id(of: "<|return|>"))",
      ], withWeights: false)
    try directory.write(tokenizer, to: "\(name)/tokenizer.json")
    try directory.write(tokenizerConfiguration, to: "\(name)/tokenizer_config.json")
    try SafetensorsWriter.write(tensors, to: directory.path("\(name)/model.safetensors"))
  }

  private static func id(of token: String) -> Int {
    markers.firstIndex(of: token) ?? firstWord + (words.firstIndex(of: token) ?? 0)
  }

  private static var tensors: [SafetensorsWriter.Tensor] {
    func matrix(
      _ name: String, _ shape: [Int], _ values: [(row: Int, column: Int, value: Float)] = []
    ) -> SafetensorsWriter.Tensor {
      var floats = [Float](repeating: shape.count == 1 ? 1 : 0, count: shape.reduce(1, *))
      for (row, column, value) in values { floats[row * shape[1] + column] = value }
      return SafetensorsWriter.Tensor(
        name: name, shape: shape, floats: floats, as: .float32)
    }
    let named = Dictionary(
      uniqueKeysWithValues: (markers + words).enumerated().map { (id(of: $1), $0) })
    func coordinate(_ token: String) -> Int { named[id(of: token)] ?? otherToken }
    let next: [(token: String, next: String, weight: Float)] = [
      ("assistant", "<|channel|>", 1), ("<|channel|>", "analysis", 1),
      ("<|channel|>", "final", 0.9),
      ("analysis", "<|message|>", 1), ("final", "<|message|>", 1), ("<|message|>", reasoning, 1),
      ("<|message|>", answer, 0.9), (reasoning, "<|end|>", 1), ("<|end|>", "<|start|>", 1),
      ("<|start|>", "assistant", 1), (answer, "<|return|>", 1),
    ]
    let prefix = "model.layers.0."
    return [
      matrix(
        "model.embed_tokens.weight", [TinyCheckpoint.vocabulary, 64],
        (0..<TinyCheckpoint.vocabulary).map { ($0, named[$0] ?? otherToken, 1) }),
      matrix(
        "lm_head.weight", [TinyCheckpoint.vocabulary, 64],
        next.map { (id(of: $0.next), coordinate($0.token), $0.weight) }
          + ["final", answer].map { (id(of: $0), hasThought, 1) }),
      matrix("model.norm.weight", [64]), matrix(prefix + "input_layernorm.weight", [64]),
      matrix(prefix + "post_attention_layernorm.weight", [64]),
      matrix(prefix + "self_attn.q_proj.weight", [128, 64]),
      matrix(prefix + "self_attn.k_proj.weight", [64, 64]),
      matrix(
        prefix + "self_attn.v_proj.weight", [64, 64],
        [(hasThought, coordinate(reasoning), 1)]),
      matrix(
        prefix + "self_attn.o_proj.weight", [64, 128], [(hasThought, hasThought, 1)]),
      matrix(prefix + "mlp.gate_proj.weight", [96, 64]),
      matrix(prefix + "mlp.up_proj.weight", [96, 64]),
      matrix(prefix + "mlp.down_proj.weight", [64, 96]),
    ]
  }

  private static var tokenizer: String {
    var tokenizer = TinyCheckpoint.tokenizer
    var added = ""
    for token in markers + words {
      let id = id(of: token)
      let hexadecimal = String(0x100 + id, radix: 16)
      tokenizer = tokenizer.replacing("\"\\u0\(hexadecimal)\": \(id), ", with: "")
      added += """
        {"id": \(id), "content": "\(token)", "single_word": false, "lstrip": false, \
        "rstrip": false, "normalized": false, "special": \(markers.contains(token))},
        """
    }
    return tokenizer.replacing("\"added_tokens\": [", with: "\"added_tokens\": [" + added)
  }

  private static let tokenizerConfiguration = #"""
    {"eos_token": "<|return|>", "chat_template": "{% for message in messages %}{{'<|start|>' + message['role'] + ('<|channel|>final' if message['role'] == 'assistant' else '') + '<|message|>' + message['content'] + '<|end|>'}}{% endfor %}{% if add_generation_prompt %}{{'<|start|>assistant'}}{% endif %}"}
    """#
}
