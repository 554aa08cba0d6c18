import Checkpoints
import StoredNumbers
import Testing

/// Models in GGUF files: names, row order, parts, vocabulary.
@Suite struct GGUFCheckpointTests {
  private func opened(_ writer: GGUFWriter) throws -> (GGUFCheckpoint, TemporaryDirectory) {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "m.gguf")
    try SafetensorsWriter.write(bytes: writer.fileBytes(), to: path)
    return (try GGUFCheckpoint(file: path), directory)
  }

  private func failure(_ writer: GGUFWriter) throws -> CheckpointError? {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "m.gguf")
    try SafetensorsWriter.write(bytes: writer.fileBytes(), to: path)
    return CheckpointsTests.failure { () throws(CheckpointError) in
      try GGUFCheckpoint(file: path)
    }
  }

  @Test("Tensors have the names of Hugging Face's checkpoints")
  func mapsNames() throws {
    let (model, _) = try opened(tinyLlama())
    #expect(
      model.tensorNames == [
        "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
        "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight", "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight",
        "model.norm.weight",
      ])
    #expect(try model.tensor(named: "model.norm.weight", shape: [8]).floats().first == 100)
    let missing = CheckpointsTests.failure { () throws(CheckpointError) in
      try model.tensor(named: "lm_head.weight")
    }
    #expect(isOneLine(missing, naming: "m.gguf", "lm_head.weight"))
  }

  /// Which row of the file each row of a projection is. Rows have 8 elements that count up from `base`.
  private func storedRows(
    of projection: String, in model: GGUFCheckpoint, base: Float
  ) throws -> [Int] {
    let tensor = try model.tensor(named: "model.layers.0.self_attn.\(projection)_proj.weight")
    let values = tensor.floats()
    return stride(from: 0, to: values.count, by: 8).map { Int(values[$0] - base) / 8 }
  }

  @Test(
    "Rows of q and k of a Llama come back in the order of Hugging Face, on floats and on blocks")
  func reordersRows() throws {
    var writer = tinyLlama()
    let (model, _) = try opened(writer)
    // The file's rows 0 1 2 3 of a head are pair 0 first, pair 0 second, pair 1 first, ...
    let order = [0, 2, 1, 3]
    #expect(try storedRows(of: "q", in: model, base: 300) == order + order.map { $0 + 4 })
    #expect(try storedRows(of: "k", in: model, base: 400) == order)
    #expect(try storedRows(of: "v", in: model, base: 500) == [0, 1, 2, 3])

    // Rows of one block of Q8_0, whose second byte is the row's number.
    let index = try #require(writer.tensors.firstIndex { $0.name == "blk.0.attn_k.weight" })
    writer.tensors[index] = .init(
      name: "blk.0.attn_k.weight", type: 8, shape: [4, 32],
      bytes: (0..<4).flatMap { [0x00, 0x3C, UInt8($0)] + [UInt8](repeating: 0, count: 31) })
    let (quantised, _) = try opened(writer)
    let blocks = try quantised.tensor(named: "model.layers.0.self_attn.k_proj.weight")
    #expect(blocks.format == .blocks(.q80))
    let firstOfRows = (0..<4).map { Int(blocks.floats()[$0 * 32]) }
    #expect(firstOfRows == order)
  }

  @Test("Other kinds of models keep the order of their rows")
  func keepsOrder() throws {
    var writer = tinyLlama(architecture: "qwen2")
    writer.tensors.append(
      .init(
        name: "blk.0.attn_q.bias", type: 0, shape: [8], bytes: floatBytes((0..<8).map(Float.init)))
    )
    let (model, _) = try opened(writer)
    #expect(try storedRows(of: "q", in: model, base: 300) == Array(0..<8))
    #expect(try model.tensor(named: "model.layers.0.self_attn.q_proj.bias").floats()[1] == 1)
  }

  @Test("Biases of q and k of a Llama are reordered with their rows")
  func reordersBiases() throws {
    var writer = tinyLlama()
    writer.tensors.append(
      .init(
        name: "blk.0.attn_q.bias", type: 0, shape: [8], bytes: floatBytes((0..<8).map(Float.init)))
    )
    let (model, _) = try opened(writer)
    let bias = try model.tensor(named: "model.layers.0.self_attn.q_proj.bias").floats()
    #expect(bias == [0, 2, 1, 3, 4, 6, 5, 7])
  }

  @Test("The shape is the one that Hugging Face's config.json of the same model has")
  func matchesConfiguration() throws {
    let (model, _) = try opened(tinyLlama())
    var expected = try configuration([
      "hidden_size": "8", "intermediate_size": "16", "num_hidden_layers": "1",
      "num_attention_heads": "2", "num_key_value_heads": "1", "vocab_size": "5",
      "max_position_embeddings": "256", "rms_norm_eps": "9.999999747378752e-06",
      "rope_theta": "500000", "tie_word_embeddings": "true", "attention_bias": "false",
      "eos_token_id": "[3, 4]",
    ])
    #expect(model.configuration == expected)

    // Mistral is a Llama with a window, and linear scaling a factor.
    let (mistral, _) = try opened(
      tinyLlama(adding: [
        ("llama.attention.sliding_window", .uint32(64)),
        ("llama.rope.scaling.type", .string("linear")),
        ("llama.rope.scaling.factor", .float32(4)),
      ]))
    expected.modelType = "mistral"
    expected.slidingWindow = 64
    expected.ropeScaling = .linear(factor: 4)
    #expect(mistral.configuration == expected)
  }

  @Test("YaRN, LongRoPE and the divisors of Llama 3 are read from keys and tensors")
  func readsScaling() throws {
    let (yarn, _) = try opened(
      tinyLlama(
        architecture: "qwen3",
        adding: [
          ("qwen3.rope.scaling.type", .string("yarn")), ("qwen3.rope.scaling.factor", .float32(4)),
          ("qwen3.rope.scaling.original_context_length", .uint32(64)),
        ]))
    #expect(
      yarn.configuration.ropeScaling
        == .yarn(.init(factor: 4, originalMaxPositionEmbeddings: 64)))
    #expect(yarn.configuration.modelType == "qwen3")

    var writer = tinyLlama()
    writer.tensors.append(
      .init(name: "rope_freqs.weight", type: 0, shape: [2], bytes: floatBytes([1, 8])))
    #expect(try opened(writer).0.configuration.ropeScaling == .divisors([1, 8]))

    writer = tinyLlama(
      architecture: "phi3",
      adding: [
        ("phi3.rope.scaling.original_context_length", .uint32(64)),
        ("phi3.rope.scaling.attn_factor", .float32(1.25)),
      ])
    for (name, factors): (String, [Float]) in [("long", [2, 4]), ("short", [1, 1])] {
      writer.tensors.append(
        .init(
          name: "rope_factors_\(name).weight", type: 0, shape: [2], bytes: floatBytes(factors)))
    }
    #expect(
      try opened(writer).0.configuration.ropeScaling
        == .longRope(
          .init(
            shortFactors: [1, 1], longFactors: [2, 4], originalMaxPositionEmbeddings: 64,
            factor: 4, attentionFactor: 1.25)))
  }

  @Test("What is not known is refused in one line that names the key")
  func refusesUnknown() throws {
    #expect(
      isOneLine(
        try failure(tinyLlama(architecture: "gemma3")), naming: "m.gguf", "general.architecture",
        "gemma3", "qwen2"))
    #expect(
      isOneLine(
        try failure(tinyLlama(adding: [("llama.rope.scaling.type", .string("ntk"))])),
        naming: "m.gguf", "llama.rope.scaling.type", "ntk"))
    #expect(
      isOneLine(
        try failure(tinyLlama(adding: [("llama.attention.value_length", .uint32(2))])),
        naming: "m.gguf", "llama.attention.value_length"))
    var writer = tinyLlama()
    writer.metadata.removeAll { $0.key == "llama.block_count" }
    #expect(isOneLine(try failure(writer), naming: "m.gguf", "llama.block_count", "missing"))
    writer = tinyLlama()
    writer.tensors.removeAll { $0.name == "token_embd.weight" }
    #expect(isOneLine(try failure(writer), naming: "m.gguf", "token_embd.weight"))
  }

  @Test("The parts of a split model are opened together, and a missing one is named")
  func opensParts() throws {
    let directory = try TemporaryDirectory()
    let whole = tinyLlama()
    func part(_ number: Int, _ tensors: ArraySlice<GGUFWriter.Tensor>) -> GGUFWriter {
      let split: [(key: String, value: GGUFWriter.Value)] = [
        ("split.no", .uint32(UInt32(number))), ("split.count", .uint32(2)),
        ("split.tensors.count", .uint32(UInt32(whole.tensors.count))),
      ]
      return GGUFWriter(
        metadata: (number == 0 ? whole.metadata : []) + split, tensors: Array(tensors))
    }
    let paths = [1, 2].map { directory.path(of: "m-0000\($0)-of-00002.gguf") }
    try SafetensorsWriter.write(bytes: part(0, whole.tensors[..<4]).fileBytes(), to: paths[0])
    func failure(_ path: String) -> CheckpointError? {
      CheckpointsTests.failure { () throws(CheckpointError) in try GGUFCheckpoint(file: path) }
    }
    #expect(isOneLine(failure(paths[0]), naming: "m-00002-of-00002.gguf"))
    try SafetensorsWriter.write(bytes: part(1, whole.tensors[4...]).fileBytes(), to: paths[1])
    for path in paths {
      let model = try GGUFCheckpoint(file: path)
      #expect(model.tensorNames.count == whole.tensors.count)
      #expect(try model.tensor(named: "model.layers.0.mlp.down_proj.weight").floats()[0] == 1000)
    }
    #expect(try openWeightSource(at: directory.path) is GGUFCheckpoint)
    // A part under another name, and a part of another model.
    let alone = directory.path(of: "alone.gguf")
    try SafetensorsWriter.write(bytes: part(0, whole.tensors[..<4]).fileBytes(), to: alone)
    #expect(isOneLine(failure(alone), naming: "alone.gguf", "split.no"))
    try SafetensorsWriter.write(bytes: part(1, whole.tensors[5...]).fileBytes(), to: paths[1])
    #expect(isOneLine(failure(paths[0]), naming: "split.tensors.count"))
    #expect(
      isOneLine(
        CheckpointsTests.failure { () throws(CheckpointError) in
          try openWeightSource(at: directory.path)
        }, naming: "several", "alone.gguf"))
  }

  @Test("The vocabulary is plain arrays, and texts that end a turn are known by their text")
  func readsVocabulary() throws {
    let (model, _) = try opened(tinyLlama())
    guard case .vocabulary(let vocabulary) = try model.tokenizerSource() else {
      Issue.record("there is no vocabulary")
      return
    }
    #expect(vocabulary.kind == "gpt2" && vocabulary.preTokenizer == "llama-bpe")
    #expect(
      vocabulary.tokens.map { String(decoding: $0, as: UTF8.self) }
        == ["a", "b", "ab", "<|end|>", "<|stop|>"])
    #expect(vocabulary.types == [1, 1, 1, 3, 3])
    #expect(vocabulary.merges == [Array("a b".utf8)])
    #expect(vocabulary.chatTemplate == "{{ messages }}")
    #expect(vocabulary.endOfTextID == 4 && vocabulary.beginOfTextID == nil)
    #expect(model.generation.endOfTextTokenIDs == [3, 4])

    // Where an answer has several messages, their ends are not its own.
    var harmony = tinyLlama()
    harmony.metadata.removeAll {
      ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"]
        .contains($0.key)
    }
    harmony.metadata += [
      (
        "tokenizer.ggml.tokens",
        .strings(["a", "<|endoftext|>", "<|end|>", "<|return|>", "<|call|>"])
      ),
      ("tokenizer.ggml.token_type", .int32s([1, 3, 3, 3, 3])),
      ("tokenizer.ggml.eos_token_id", .uint32(3)), ("tokenizer.ggml.eot_token_id", .uint32(2)),
    ]
    #expect(try opened(harmony).0.generation.endOfTextTokenIDs == [1, 3, 4])

    var writer = tinyLlama()
    writer.metadata.removeAll { $0.key == "tokenizer.ggml.token_type" }
    writer.metadata.append(("tokenizer.ggml.token_type", .int32s([1])))
    let (misfit, _) = try opened(writer)
    let error = CheckpointsTests.failure { () throws(CheckpointError) in
      try misfit.tokenizerSource()
    }
    #expect(isOneLine(error, naming: "m.gguf", "tokenizer.ggml.token_type", "5 tokens"))
  }
}
