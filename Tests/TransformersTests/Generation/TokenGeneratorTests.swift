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
      model: model, cache: cache, logits: result.logits, prompt: prompt, sampler: try Sampler(),
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
    var generator = try generator(capacity: 60, maximumTokens: 12)
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
    let logits = try model.prefill(prompt, cache: cache).logits
    var generator = TokenGenerator(
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
    var generator = try generator(capacity: 60, stopIDs: [stop], maximumTokens: 12)
    var tokens: [Int32] = []
    while let id = try generator.next() { tokens.append(id) }
    #expect(tokens == Array(expected[..<before]))
    #expect(generator.finishReason == .stop(id: stop))
  }

  @Test func `a full cache ends the text after the last token that fits`() throws {
    var generator = try generator(capacity: 32, maximumTokens: 12)
    var count = 0
    while try generator.next() != nil { count += 1 }
    // Two tokens are decoded into the room that is left; a third is known and not decoded.
    #expect(count == 3 && generator.finishReason == .contextFull)
  }

  @Test func `no tokens are made when none are asked for`() throws {
    var generator = try generator(capacity: 30, maximumTokens: 0)
    #expect(try generator.next() == nil)
    #expect(generator.finishReason == .length)
  }
}
