import Checkpoints
import Compute
import Testing
import Transformers

struct TransformerTests {
  @Test func `an unknown architecture is refused with the known ones named`() throws {
    let checkpoint = try TemporaryCheckpoint(fields: ["model_type": "\"mamba\""])
    let error = #expect(throws: TransformerError.self) { try checkpoint.load() }
    #expect(
      error?.description
        == "\(checkpoint.directory)/config.json: model_type is \"mamba\": known are "
        + "llama, mistral, qwen2, qwen3, qwen3_moe, phi3, glm, glm4, glm4_moe, chatglm, seed_oss, "
        + "gpt_oss")
  }

  @Test func `what a family does not have is refused with its field named`() throws {
    for (field, value) in [("hidden_act", "\"gelu\""), ("partial_rotary_factor", "0.5")] {
      let checkpoint = try TemporaryCheckpoint(fields: [field: value])
      let error = #expect(throws: TransformerError.self) { try checkpoint.load() }
      #expect(error?.description.contains("config.json: \(field) is ") == true)
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `a weight that is not finite is refused with tensor and element named`(value: Float) throws {
    for (name, index) in [
      ("model.embed_tokens.weight", 40 * 32 - 1), ("model.layers.1.mlp.up_proj.weight", 0),
      ("model.layers.0.input_layernorm.weight", 17),
    ] {
      let checkpoint = try TemporaryCheckpoint { $0[name]?.floats[index] = value }
      let error = #expect(throws: TransformerError.self) { try checkpoint.load() }
      #expect(
        error?.description.hasPrefix(
          "\(checkpoint.directory)/model.safetensors: tensor \"\(name)\" holds \(value) at element "
            + "\(index):") == true)
    }
  }

  @Test func `a missing tensor and a misshapen one are refused`() throws {
    let name = "model.layers.1.self_attn.k_proj.weight"
    let missing = try TemporaryCheckpoint { $0[name] = nil }
    #expect(throws: CheckpointError.self) { try missing.load() }
    let misshapen = try TemporaryCheckpoint { $0[name]?.shape = [16, 64] }
    #expect(throws: CheckpointError.self) { try misshapen.load() }
  }

  @Test func `input that cannot be read is refused before anything is computed`() throws {
    let checkpoint = try TemporaryCheckpoint(fields: ["max_position_embeddings": "128"])
    let model = try checkpoint.load()
    #expect(model.contextLength == 128)
    let cache = try model.makeCache(capacity: 100)
    func error(_ ids: [Int32]) -> TransformerError? {
      #expect(throws: TransformerError.self) { try model.prefill(ids, cache: cache) }
    }
    #expect(error([]) == .emptyPrompt)
    #expect(
      error(Array(repeating: 1, count: 129)) == .contextExceeded(tokens: 129, contextLength: 128))
    #expect(error(Array(repeating: 1, count: 101)) == .cacheFull(tokens: 101, capacity: 100))
    #expect(error([0, 39, 40]) == .idOutOfRange(index: 2, id: 40, vocabularySize: 40))
    #expect(error([3, -1]) == .idOutOfRange(index: 1, id: -1, vocabularySize: 40))
    #expect(cache.count == 0)
    #expect(throws: TransformerError.contextExceeded(tokens: 129, contextLength: 128)) {
      try model.makeCache(capacity: 129)
    }
    #expect(throws: TransformerError.self) { try model.makeCache(capacity: 0) }
    #expect(throws: TransformerError.self) {
      try model.makeCache(capacity: 8, keyValues: KeyValueOptions(type: .float16))
    }
    for options in [
      PrefillOptions(chunk: 0), PrefillOptions(chunk: -4), PrefillOptions(rowBlock: 0),
    ] {
      #expect(throws: TransformerError.self) {
        try model.prefill([1], cache: cache, options: options)
      }
    }
  }

  @Test func `a cache of another model is refused`() throws {
    let model = try TemporaryCheckpoint().load()
    let other = try TemporaryCheckpoint(keyValueHeads: 1).load()
    let cache = try other.makeCache(capacity: 4)
    #expect(throws: TransformerError.self) { try model.decode(1, cache: cache) }
  }

  @Test func `the context of dynamic and YaRN scaling is the extended one`() {
    func length(_ scaling: RopeScaling) -> Int {
      RotaryScaling(dimensions: 64, theta: 1e4, maxPositionEmbeddings: 4096, scaling: scaling)
        .contextLength
    }
    #expect(length(.none) == 4096)
    #expect(length(.linear(factor: 4)) == 4096)
    #expect(length(.dynamic(factor: 2.5)) == 10240)
    let factors = [Double](repeating: 1, count: 32)
    #expect(
      length(
        .longRope(
          .init(
            shortFactors: factors, longFactors: factors, originalMaxPositionEmbeddings: 1024,
            factor: 4))) == 4096)
  }

  @Test func `a cache in bfloat16 takes half the memory and nearly gives the same logits`() throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load()
    let ids = TemporaryCheckpoint.ids(90)
    let exact = try model.makeCache(capacity: 90)
    let rounded = try model.makeCache(capacity: 90, keyValues: KeyValueOptions(type: .bfloat16))
    #expect(rounded.byteCount * 2 == exact.byteCount)
    #expect(exact.byteCount == 2 * 2 * 2 * 90 * 16 * 4)
    let expected = try score(model, ids, cache: exact)
    let error = distance(
      try score(model, ids, cache: rounded), from: expected, width: model.vocabularySize)
    #expect(error > 1e-5 && error < 5e-2)
  }
}
