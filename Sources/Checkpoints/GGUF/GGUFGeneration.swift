extension GGUFMetadata {
  /// The token id of `tokenizer.ggml.NAME`.
  func tokenID(_ name: String) throws(CheckpointError) -> Int? {
    let key = "tokenizer.ggml." + name
    // Some writers put -1, or its 32 bits, where there is no such token.
    if case .integer(let number)? = values[key], number == -1 || number == Int64(UInt32.max) {
      return nil
    }
    return try integer(key, in: 0...Int(Int32.max))
  }

  /// The ids of tokens that end a text or a turn: those that keys name, and those of the texts that
  /// models of several kinds end a turn with.
  func endOfTextTokenIDs() throws(CheckpointError) -> [Int] {
    var ids: Set<Int> = []
    for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
      if let id = try tokenID(name) { ids.insert(id) }
    }
    let tokens = try strings("tokenizer.ggml.tokens") ?? []
    let types = try integers("tokenizer.ggml.token_type", in: 0...Int(Int32.max)) ?? []
    var named: [[UInt8]: Int] = [:]
    for (id, type) in zip(tokens.indices, types) where type == StoredVocabulary.controlType {
      guard Self.endTexts.contains(tokens[id]) else { continue }
      ids.insert(id)
      named[tokens[id]] = id
    }
    // In the harmony format an answer has several messages, of which each ends so.
    if named[Self.harmonyReturn] != nil, named[Self.harmonyCall] != nil,
      let end = named[Self.endOfMessage]
    {
      ids.remove(end)
    }
    return ids.sorted()
  }

  /// Source: llama.cpp, `src/llama-vocab.cpp`.
  private static let endTexts: Set<[UInt8]> = Set(
    [
      "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
      "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "<end_of_utterance>",
      "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>", "<|return|>", "<|call|>",
    ].map { Array($0.utf8) })

  private static let harmonyReturn = Array("<|return|>".utf8)
  private static let harmonyCall = Array("<|call|>".utf8)
  private static let endOfMessage = Array("<|end|>".utf8)
}

extension GenerationConfiguration {
  /// Sampling settings from the metadata; files before 2026 have none.
  init(_ metadata: GGUFMetadata) throws(CheckpointError) {
    func number(_ name: String, in range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
      try metadata.number("general.sampling." + name, in: range)
    }
    endOfTextTokenIDs = try metadata.endOfTextTokenIDs()
    beginOfTextTokenIDs = try metadata.tokenID("bos_token_id").map { [$0] } ?? []
    temperature = try number("temp", in: 0...1e4)
    topP = try number("top_p", in: 0...1)
    topK = try metadata.integer("general.sampling.top_k", in: 0...Int(Int32.max))
    minP = try number("min_p", in: 0...1)
    repetitionPenalty = try number("penalty_repeat", in: 1e-3...1e3)
    // A file that gives a temperature, or a set to draw from, wants tokens drawn.
    let isGiven = [temperature, topP, minP].contains { $0 != nil } || topK != nil
    doSample = isGiven ? temperature != 0 && topK != 1 : nil
  }
}
