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
