import ComputeCPU
import MInference
import TemporaryCheckpoints
import Testing
import Transformers

/// Sequences that begin alike in memory that they have in common.
@Suite(.enabled(if: CPUBackend.sharesKeyValues)) struct SharedPrefixTests {
  let directory: TemporaryDirectory
  let model: LanguageModel
  private let bytesPerToken = 2 * TinyCheckpoint.layers * 64 * 4

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
  }

  private var asker: Asker { Asker(model: model) }

  private func ids(_ count: Int, _ seed: Int32) -> [Int32] {
    (0..<Int32(count)).map { ($0 &* 31 &+ seed &* 7) % 200 }
  }

  @Test func `a cache goes on in shared memory as it does in its own, and the other one too`()
    throws
  {
    let transformer = model.transformer
    let document = ids(900, 1)
    func cache() throws -> KeyValueCache {
      let cache = try transformer.makeCache(capacity: 1200, shareable: 900)
      _ = try transformer.prefill(document, cache: cache)
      return cache
    }
    let (first, alone) = (try cache(), try cache())
    let rows = CachedRows(first, rows: 0..<880)
    let count = transformer.shareable(rows)
    #expect(count > 700 && count <= 880)
    let second = try transformer.makeCache(capacity: 1100, beginningWith: rows)
    #expect(second.count == count && second.sharedCount == count && first.sharedCount == count)
    try transformer.append([CachedRows(first, rows: count..<900)], to: second)
    for (left, right) in zip([first, second], [3, 5] as [Int32]) {
      let expected = try cache()
      for token in 0..<20 {
        #expect(
          try transformer.decode(right + Int32(token), cache: left)
            == transformer.decode(right + Int32(token), cache: expected))
      }
    }
    // Bytes that two have count once.
    #expect(
      KeyValueBytes(of: [first, second]).count
        == first.byteCount + second.byteCount - count * bytesPerToken)
    #expect(KeyValueBytes(of: [first, alone]).count == first.byteCount + alone.byteCount)
    // Nobody writes where another one reads.
    second.truncate(to: count - 1)
    #expect(throws: TransformerError.cacheInUse) { try transformer.decode(1, cache: second) }
    #expect(throws: TransformerError.self) {
      try transformer.makeCache(
        capacity: 1100, beginningWith: CachedRows(alone, rows: 1..<880))
    }
  }

  @Test func `a sequence whose beginning others have is not rewound before its end`() throws {
    let transformer = model.transformer
    let tree = PrefixTree()
    let attention = AttentionOptions(mode: .dense)
    let document = ids(900, 1)
    let cache = try transformer.makeCache(capacity: 1200, shareable: 900)
    _ = try transformer.prefill(document, cache: cache)
    tree.insert(document, PrefixStorage(cache: cache), attention: attention)
    let near = try #require(tree.find(document + [1, 2], attention: attention))
    let far = try #require(
      tree.find(Array(document[..<500]) + [201, 2], attention: attention))
    #expect(tree.canRewind(near) && tree.canRewind(far))
    var other: KeyValueCache? = try transformer.makeCache(
      capacity: 1200, beginningWith: try #require(near.beginning))
    #expect(tree.canRewind(near) && !tree.canRewind(far))
    // What both have is saved by moving neither.
    #expect(tree.compaction(of: transformer.canCopyRows) == nil)
    #expect(
      tree.byteCount(with: [try #require(other)]) < 2 * tree.byteCount
        && tree.byteCount(with: [cache]) == tree.byteCount)
    other = nil
    #expect(tree.canRewind(far))
  }

  @Test func `questions about one document are answered side by side in memory for less than two`()
    async throws
  {
    let document = asker.text(12, length: 1500)
    var options = EngineOptions(
      memoryBytes: TinyCheckpoint.context * 7 / 4 * bytesPerToken, runningSequences: 4,
      stallSeconds: 0.001)
    options.session.chunk = 512
    let engine = try Engine(model: model, options: options)
    let prompts = try (0..<3).map { try model.encode(.raw(document + "Question \($0)?")) }
    _ = try await asker.answer(engine, AnswerRequest(prompt: prompts[0], maximumTokens: 2))
    let asker = asker
    let together = Overlap()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, prompt) in prompts.enumerated() {
        group.addTask {
          var request = AnswerRequest(prompt: prompt, maximumTokens: 150)
          request.ignoresEndOfText = true
          var text = ""
          for try await event in try engine.submit(request) {
            switch event {
            case .progress: break
            case .token(let token):
              text += token.text
              await together.begin(number)
            case .finished(let summary):
              text += summary.text
              #expect(summary.cachedTokens >= 1500)
              await together.end()
            }
          }
          #expect(try text.hasPrefix(asker.single(prompt, tokens: 20, stopIDs: [])))
        }
      }
      try await group.waitForAll()
    }
    #expect(await together.atFirstEnd == 3)
    // The document is still there once, and every question behind it.
    for prompt in prompts {
      let found = try await asker.answer(
        engine, AnswerRequest(prompt: prompt + [65], maximumTokens: 4))
      #expect(found.cached >= prompt.count - 1)
      #expect(try found.text == asker.single(prompt + [65], tokens: 4))
    }
    #expect(engine.currentMetrics.keyValueBytes <= options.memoryBytes ?? 0)
    await engine.stop()
  }

  /// How many had begun when the first one ended.
  private actor Overlap {
    private var begun: Set<Int> = []
    private(set) var atFirstEnd: Int?

    func begin(_ number: Int) { begun.insert(number) }
    func end() { atFirstEnd = atFirstEnd ?? begun.count }
  }
}
