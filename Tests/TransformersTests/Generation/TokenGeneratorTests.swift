import Compute
import SparseAttention
import Synchronization
import Testing
import Transformers

struct TokenGeneratorTests {
  let checkpoint: TemporaryCheckpoint
  let model: Transformer
  let prompt = TemporaryCheckpoint.ids(30)

  init() throws {
    checkpoint = try TemporaryCheckpoint()
    model = try checkpoint.load()
  }

  func generator(capacity: Int, stopIDs: Set<Int32> = [], maximumTokens: Int) throws
    -> TokenGenerator
  {
    let cache = try model.makeCache(capacity: capacity)
    let result = try model.prefill(prompt, cache: cache)
    return TokenGenerator(
      model: model, cache: cache, logits: result.deviceLogits, prompt: prompt,
      sampler: try Sampler(),
      stopIDs: stopIDs, maximumTokens: maximumTokens)
  }

  /// The greedy continuation, each token from a prefill of everything before it.
  func continuation(_ count: Int) throws -> [Int32] {
    var ids = prompt
    for _ in 0..<count {
      let cache = try model.makeCache(capacity: ids.count)
      ids.append(Sampler.mostLikely(try model.prefill(ids, cache: cache).logits))
    }
    return Array(ids.dropFirst(prompt.count))
  }

  @Test func `greedy tokens equal those of prefilling everything anew`() throws {
    let generator = try generator(capacity: 60, maximumTokens: 12)
    var tokens: [Int32] = []
    while let id = try generator.next() { tokens.append(id) }
    #expect(tokens == (try continuation(12)))
    #expect(generator.finishReason == .length && generator.count == 12)
    #expect(generator.history == prompt + tokens)
    #expect(try generator.next() == nil)
  }

  @Test func `drawn tokens are those of each step's logits and all ids before`() throws {
    let options = SamplingOptions(
      temperature: 1.5, topK: 40, topP: 0.95, repetitionPenalty: 1.3, seed: 11)
    let cache = try model.makeCache(capacity: 60)
    let logits = try model.prefill(prompt, cache: cache).deviceLogits
    let generator = TokenGenerator(
      model: model, cache: cache, logits: logits, prompt: prompt, sampler: try Sampler(options),
      stopIDs: [], maximumTokens: 12)
    var tokens: [Int32] = []
    while let id = try generator.next() { tokens.append(id) }

    var sampler = try Sampler(options)
    let other = try model.makeCache(capacity: 60)
    var expected: [Int32] = []
    var next = try model.prefill(prompt, cache: other).logits
    for _ in 0..<12 {
      let id = try sampler.sample(logits: next, history: prompt + expected)
      expected.append(id)
      next = try model.decode(id, cache: other)
    }
    #expect(tokens == expected)
    #expect(Set(tokens).count > 1)
  }

  @Test func `a stop id ends the text and is not part of it`() throws {
    let expected = try continuation(12)
    let stop = expected[5]
    let before = try #require(expected.firstIndex(of: stop))
    let generator = try generator(capacity: 60, stopIDs: [stop], maximumTokens: 12)
    var tokens: [Int32] = []
    while let id = try generator.next() { tokens.append(id) }
    #expect(tokens == Array(expected[..<before]))
    #expect(generator.finishReason == .stop(id: stop))
  }

  @Test func `a full cache ends the text after the last token that fits`() throws {
    let generator = try generator(capacity: 32, maximumTokens: 12)
    var count = 0
    while try generator.next() != nil { count += 1 }
    // Two tokens are decoded into the room that is left; a third is known and not decoded.
    #expect(count == 3 && generator.finishReason == .contextFull)
  }

  @Test func `no tokens are made when none are asked for`() throws {
    let generator = try generator(capacity: 30, maximumTokens: 0)
    #expect(try generator.next() == nil)
    #expect(generator.finishReason == .length)
  }
}

/// A sequence that outgrows the original length of LongRoPE, and is read again with the other factors.
struct RereadingTests {
  private static let prompt = TemporaryCheckpoint.ids(148)

  private func model(_ backend: TestBackend) throws -> Transformer {
    let factors = { (factor: Int) in
      "[" + (0..<8).map { "\(1 + factor * $0)" }.joined(separator: ", ") + "]"
    }
    return try TemporaryCheckpoint(fields: [
      "rope_scaling":
        #"{"type": "longrope", "original_max_position_embeddings": 150, "short_factor": "#
        + #"\#(factors(0)), "long_factor": \#(factors(3))}"#
    ]).load(backend)
  }

  private func generator(_ model: Transformer, _ rereading: PrefillOptions) throws
    -> (TokenGenerator, KeyValueCache)
  {
    let cache = try model.makeCache(capacity: 200)
    let generator = TokenGenerator(
      model: model, cache: cache,
      logits: try model.prefill(Self.prompt, cache: cache).deviceLogits, prompt: Self.prompt,
      sampler: try Sampler(), stopIDs: [], maximumTokens: 8, rereading: rereading)
    return (generator, cache)
  }

  private var sparse: PrefillOptions {
    PrefillOptions(
      planner: AttentionPlanner(
        configuration: .uniform(.aShape(sink: 1, local: 1), layers: 2, heads: 4),
        exact: true), chunk: 64, rowBlock: 64)
  }

  @Test(arguments: TestBackend.allCases)
  func `the sequence is read again as its prompts are, and a notice says so`(
    backend: TestBackend
  ) throws {
    let model = try model(backend)
    let seen = Mutex<[PrefillProgress]>([])
    var options = sparse
    options.progress = { progress in seen.withLock { $0.append(progress) } }
    let (generator, cache) = try generator(model, options)
    while generator.notices.isEmpty { try #require(try generator.next() != nil) }
    #expect(generator.notices.count == 1 && generator.notices[0].contains("151 tokens"))
    #expect(seen.withLock(\.last)?.tokens == 151)
    // The token that came out is that of a sparse reading, and the next ones continue it.
    let again = try model.makeCache(capacity: 200)
    let history = Array(generator.history.dropLast())
    var logits = try model.prefill(history, cache: again, options: sparse).logits
    var expected = history
    for _ in 0..<4 {
      expected.append(Sampler.mostLikely(logits))
      logits = try model.decode(expected[expected.count - 1], cache: again)
    }
    for _ in 0..<3 { _ = try generator.next() }
    #expect(generator.history == expected)
    #expect(cache.count == expected.count - 1 && generator.notices.count == 1)
    let dense = try model.makeCache(capacity: 200)
    let denseLogits = try model.prefill(history, cache: dense).logits
    let sparseLogits = try model.prefill(
      history, cache: try model.makeCache(capacity: 200), options: sparse
    ).logits
    #expect(distance(sparseLogits, from: denseLogits, width: model.vocabularySize) > 1e-4)
  }

  @Test func `when it is cancelled the cache holds a beginning, from which the next call goes on`()
    throws
  {
    let model = try model(.cpu)
    var (whole, _) = try generator(model, sparse)
    while try whole.next() != nil {}
    var counts: Set<Int> = []
    for allowed in 0..<12 {
      let asked = Mutex(0)
      var options = sparse
      options.isCancelled = {
        asked.withLock { asked in
          asked += 1
          return asked == allowed + 1
        }
      }
      let (generator, cache) = try generator(model, options)
      #expect(throws: CancellationError.self) { while try generator.next() != nil {} }
      counts.insert(cache.count)
      #expect(cache.count % 64 == 0 && cache.count < 151)
      while try generator.next() != nil {}
      #expect(generator.history == whole.history)
      #expect(generator.notices == whole.notices)
    }
    #expect(counts.contains(0) && counts.contains(64))
  }
}
