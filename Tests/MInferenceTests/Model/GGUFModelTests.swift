import MInference
import TemporaryCheckpoints
import Testing

/// Models and tokenizers from GGUF files, through the library's own door.
@Suite struct GGUFModelTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
  }

  /// The tiny checkpoint's tokenizer, and the shape of its layers.
  private static func metadata(
    pre: String = "gpt-2"
  ) -> [(key: String, value: GGUFWriter.Value)] {
    let printable = Set(33...126).union(161...172).union(174...255)
    var next: UInt32 = 256
    var tokens = (0..<256).map { byte in
      var code = UInt32(byte)
      if !printable.contains(byte) {
        code = next
        next += 1
      }
      return Unicode.Scalar(code).map { String(Character($0)) } ?? ""
    }
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return [
      ("general.architecture", .string("llama")),
      ("llama.block_count", .uint32(UInt32(TinyCheckpoint.layers))),
      ("llama.context_length", .uint32(UInt32(TinyCheckpoint.context))),
      ("llama.embedding_length", .uint32(64)), ("llama.feed_forward_length", .uint32(96)),
      ("llama.attention.head_count", .uint32(UInt32(TinyCheckpoint.heads))),
      ("llama.attention.head_count_kv", .uint32(1)), ("llama.attention.key_length", .uint32(64)),
      ("llama.attention.value_length", .uint32(64)),
      ("llama.attention.layer_norm_rms_epsilon", .float32(1e-5)),
      ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string(pre)),
      ("tokenizer.ggml.tokens", .strings(tokens)),
      ("tokenizer.ggml.token_type", .int32s([Int32](repeating: 1, count: 256) + [3, 3, 3])),
      ("tokenizer.ggml.merges", .strings([])), ("tokenizer.ggml.eos_token_id", .uint32(258)),
    ]
  }

  private static let names = [
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
  ]

  /// The tiny checkpoint as a GGUF file.
  ///
  /// - Parameter inBlocks: Matrices as Q8_0, rounded to the nearest.
  private func write(
    _ name: String, pre: String = "gpt-2", inBlocks: Bool = false
  ) throws -> String {
    let checkpoint = try Checkpoint(directory: directory.path("model"))
    let tensors = try checkpoint.tensorNames.map { name -> GGUFWriter.Tensor in
      let tensor = try checkpoint.tensor(named: name)
      let values = tensor.floats()
      var stored = name == "model.norm.weight" ? "output_norm.weight" : "token_embd.weight"
      let parts = name.split(separator: ".")
      var rows = Array(0..<tensor.shape[0])
      if parts.count > 3 {
        let kind = try #require(Self.names[parts[3..<parts.count - 1].joined(separator: ".")])
        stored = "blk.\(parts[2]).\(kind).weight"
        if kind == "attn_q" || kind == "attn_k" {
          // Pairs that turn lie side by side.
          rows = rows.map { $0 / 64 * 64 + $0 % 2 * 32 + $0 % 64 / 2 }
        }
      }
      let width = values.count / rows.count
      let ordered = rows.flatMap { values[$0 * width..<($0 + 1) * width] }
      let isBlocks = inBlocks && tensor.shape.count == 2
      return .init(
        name: stored, type: isBlocks ? 8 : 0, shape: tensor.shape,
        bytes: isBlocks ? Self.eightBits(ordered) : ordered.flatMap(Self.bytes))
    }
    let path = directory.path(name)
    try SafetensorsWriter.write(
      bytes: GGUFWriter(metadata: Self.metadata(pre: pre), tensors: tensors).fileBytes(),
      to: path)
    return path
  }

  private static func bytes(_ value: Float) -> [UInt8] {
    withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
  }

  /// Q8_0 with the scale 2^-9 everywhere: the weights are below 0.2.
  private static func eightBits(_ values: [Float]) -> [UInt8] {
    stride(from: 0, to: values.count, by: 32).flatMap { start -> [UInt8] in
      [0x00, 0x18]
        + values[start..<start + 32].map {
          UInt8(bitPattern: Int8(max(-127, min(127, ($0 * 512).rounded()))))
        }
    }
  }

  @Test("A model in a file scores and tokenizes as the directory it was made from")
  func matchesDirectory() async throws {
    let original = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 2))
    let text = "The lantern hangs in the tower, 12 steps up."
    let ids = try original.encode(.raw(text))
    let expected = try await original.score(ids)
    for inBlocks in [false, true] {
      let path = try write("tiny-\(inBlocks).gguf", inBlocks: inBlocks)
      let model = try LanguageModel(LoadOptions(directory: path, device: .cpu, threads: 2))
      #expect(try model.encode(.raw(text)) == ids)
      #expect(model.tokenizer.decode(ids) == text)
      let score = try await model.score(ids)
      let errors = zip(score.logProbabilities, expected.logProbabilities).map { abs($0 - $1) }
      // Eight bits cost something; the same numbers cost nothing.
      #expect(inBlocks ? errors.max() ?? 9 < 0.2 : errors.allSatisfy { $0 == 0 })
      #expect(!inBlocks || errors.contains { $0 > 0 })
    }
  }

  @Test("A tokenizer of a kind that is not known is refused by file and name")
  func refusesUnknownKinds() throws {
    let path = try write("odd.gguf", pre: "klingon")
    #expect {
      _ = try LanguageModel(LoadOptions(directory: path, device: .cpu, threads: 1))
    } throws: {
      let text = "\($0)"
      return text.contains("odd.gguf") && text.contains("pre-tokenizer")
        && text.contains("klingon") && !text.contains("\n")
    }
  }

  @Test(
    "Pieces with scores are joined by the highest score, and bytes stand in for what is no piece")
  func joinsByScore() throws {
    let space = "\u{2581}"
    let bytes = (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return "<0x" + (digits.count == 1 ? "0" : "") + digits + ">"
    }
    let pieces = [space, "a", "b", "ab", space + "a", space + "ab", "ba"]
    let tokens = ["<unk>", "<s>", "</s>"] + bytes + pieces
    var metadata = Self.metadata().filter { !$0.key.hasPrefix("tokenizer") }
    metadata += [
      ("tokenizer.ggml.model", .string("llama")), ("tokenizer.ggml.tokens", .strings(tokens)),
      (
        "tokenizer.ggml.scores",
        // "ab" is joined before a blank and "a", and those before "ba".
        .floats([Float](repeating: 0, count: 259) + [-9, -9, -9, -1, -2, -3, -4])
      ),
      (
        "tokenizer.ggml.token_type",
        .int32s([2, 3, 3] + [Int32](repeating: 6, count: 256) + [Int32](repeating: 1, count: 7))
      ),
      ("tokenizer.ggml.bos_token_id", .uint32(1)), ("tokenizer.ggml.eos_token_id", .uint32(2)),
      ("tokenizer.ggml.unknown_token_id", .uint32(0)),
    ]
    let path = directory.path("scored.gguf")
    let embedding = GGUFWriter.Tensor(
      name: "token_embd.weight", type: 0, shape: [tokens.count, 64],
      bytes: [UInt8](repeating: 0, count: tokens.count * 256))
    try SafetensorsWriter.write(
      bytes: GGUFWriter(metadata: metadata, tensors: [embedding]).fileBytes(), to: path)
    let tokenizer = try openTokenizer(at: path)
    func spelled(_ text: String) -> [String] {
      tokenizer.encode(text).map { tokenizer.token(ofID: $0) ?? "?" }
    }
    #expect(spelled("ab") == ["<s>", space + "ab"])
    #expect(spelled("aba ba") == ["<s>", space + "ab", "a", space, "ba"])
    #expect(spelled("a\u{E9}") == ["<s>", space + "a", "<0xC3>", "<0xA9>"])
    let ids = tokenizer.encode("ab a\u{E9}")
    #expect(tokenizer.decode(Array(ids.dropFirst())) == "ab a\u{E9}")
  }
}
