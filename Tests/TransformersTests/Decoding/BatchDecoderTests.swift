import BackendTesting
import Checkpoints
import Compute
import Testing
import Transformers

/// Several sequences that are decoded together.
@Suite struct BatchDecoderTests {
  /// Two caches of each prompt, filled alike.
  private func caches(
    _ model: Transformer, prompts: [[Int32]], tokens: Int
  ) throws -> (together: [KeyValueCache], alone: [KeyValueCache]) {
    func fill() throws -> [KeyValueCache] {
      try prompts.map { prompt in
        let cache = try model.makeCache(capacity: prompt.count + tokens)
        _ = try model.prefill(prompt, cache: cache)
        return cache
      }
    }
    return (try fill(), try fill())
  }

  /// Decodes `tokens` tokens of each prompt, together and alone, and expects the same bits.
  private func expectEqual(
    _ model: Transformer, prompts: [[Int32]], tokens: [[Int32]]
  ) throws {
    let decoder = BatchDecoder(model: model)
    let (together, alone) = try caches(model, prompts: prompts, tokens: tokens.count)
    for ids in tokens {
      let logits = try decoder.logits(behind: ids, caches: together)
      #expect(logits.shape == [ids.count, model.vocabularySize])
      let single = try zip(ids, alone).flatMap { try model.decode($0, cache: $1) }
      #expect(try model.backend.read(logits) == single)
      #expect(together.map(\.count) == alone.map(\.count))
    }
  }

  @Test(
    "Rows of all families are bit for bit those of sequences that are decoded alone",
    arguments: [
      "llama-1-head-a-group-64", "llama-3-heads-a-group-64", "llama-4-heads-a-group-128",
      "llama-biases", "llama-float16", "mistral-window", "qwen2", "qwen3", "glm4", "chatglm",
      "rope-dynamic-beyond", "phi3-longrope-within", "qwen2-dual-chunk", "qwen3-moe",
      "glm4-moe-groups",
    ])
  func families(name: String) throws {
    let golden = try #require(Golden.all.first { $0.name == name })
    let ids = try golden.ids()
    for backend in TestBackend.allCases {
      let model = try Transformer(checkpoint: try golden.checkpoint(), backend: backend.make())
      let prompts = [1, 5, min(12, ids.count - 3)].map { Array(ids.prefix($0)) }
      let tokens = (0..<2).map { step in prompts.map { ids[($0.count + step) % ids.count] } }
      try expectEqual(model, prompts: prompts, tokens: tokens)
    }
  }

  @Test(
    "Rows of any number of sequences, heads and dimensions are those of sequences alone",
    arguments: [(2, 2, 2, 16), (3, 4, 1, 16), (4, 6, 2, 24), (9, 8, 4, 8), (17, 4, 2, 32)])
  func shapes(sequences: Int, queryHeads: Int, keyValueHeads: Int, headDim: Int) throws {
    let checkpoint = try TemporaryCheckpoint(
      queryHeads: queryHeads, keyValueHeads: keyValueHeads, headDim: headDim,
      seed: UInt64(sequences))
    let model = try checkpoint.load()
    let prompts = (0..<sequences).map { TemporaryCheckpoint.ids(1 + $0 * 37 % 90) }
    let tokens = (0..<3).map { step in (0..<sequences).map { Int32(($0 * 7 + step) % 40) } }
    try expectEqual(model, prompts: prompts, tokens: tokens)
  }

  @Test("Sequences come and go between steps")
  func membership() throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load()
    let decoder = BatchDecoder(model: model)
    let (together, alone) = try caches(
      model, prompts: [3, 20, 41].map { TemporaryCheckpoint.ids($0) }, tokens: 9)
    for rows in [[0, 1, 2], [2, 0], [1], [1, 2], [2, 1, 0]] {
      let ids = rows.map { Int32($0 + 5) }
      let logits = try decoder.logits(behind: ids, caches: rows.map { together[$0] })
      #expect(
        try model.backend.read(logits)
          == zip(ids, rows).flatMap { try model.decode($0, cache: alone[$1]) })
    }
  }

  @Test("What cannot be decoded leaves every cache as it was")
  func refusals() throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load()
    let decoder = BatchDecoder(model: model)
    let (caches, _) = try caches(
      model, prompts: [3, 20].map { TemporaryCheckpoint.ids($0) }, tokens: 1)
    func expectRefusal(_ ids: [Int32], _ caches: [KeyValueCache]) {
      #expect(throws: TransformerError.self) { try decoder.logits(behind: ids, caches: caches) }
    }
    expectRefusal([1], caches)
    expectRefusal([], [])
    expectRefusal([1, 40], caches)
    expectRefusal([1, 1], [caches[0], caches[0]])
    _ = try decoder.logits(behind: [1, 2], caches: caches)
    expectRefusal([1, 2], caches)
    #expect(caches.map(\.count) == [4, 21])
  }

  @Test("An operation that fails leaves every cache as it was")
  func failures() throws {
    let checkpoint = try TemporaryCheckpoint()
    let backend = InstrumentedBackend()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    let (caches, alone) = try caches(
      model, prompts: [3, 20].map { TemporaryCheckpoint.ids($0) }, tokens: 2)
    let decoder = BatchDecoder(model: model)
    for operation in [0, 5, 14] {
      backend.fail(atOperation: operation)
      #expect(throws: InstrumentedBackend.Failure.self) {
        try decoder.logits(behind: [1, 2], caches: caches)
      }
      #expect(caches.map(\.count) == [3, 20])
    }
    backend.fail(atOperation: nil)
    let logits = try decoder.logits(behind: [1, 2], caches: caches)
    #expect(
      try backend.read(logits) == zip([1, 2], alone).flatMap { try model.decode($0, cache: $1) })
  }
}
