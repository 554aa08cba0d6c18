import Compute
import Synchronization
import Testing
import Transformers

struct PrefillTests {
  @Test(arguments: [16, 32, 64, 96, 1000], TestBackend.allCases)
  func `dense prefill gives the same logits in chunks of any size, with blocks of any size`(
    chunk: Int, backend: TestBackend
  ) throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load(backend)
    let ids = TemporaryCheckpoint.ids(203)
    let expected = try score(model, ids)
    for rowBlock in [32, 2048] {
      let values = try score(model, ids, PrefillOptions(chunk: chunk, rowBlock: rowBlock))
      #expect(distance(values, from: expected, width: model.vocabularySize) < 2e-5)
    }
  }

  @Test func `a prompt read in two calls equals one read at once`() throws {
    let checkpoint = try TemporaryCheckpoint()
    let model = try checkpoint.load()
    let ids = TemporaryCheckpoint.ids(150)
    let whole = try model.prefill(ids, cache: try model.makeCache(capacity: 150))
    let cache = try model.makeCache(capacity: 200)
    _ = try model.prefill(Array(ids[..<71]), cache: cache)
    _ = try model.prefill(TemporaryCheckpoint.ids(20, seed: 9), cache: cache)
    cache.truncate(to: 71)
    let rest = try model.prefill(Array(ids[71...]), cache: cache)
    #expect(distance(rest.logits, from: whole.logits, width: model.vocabularySize) < 2e-5)
    #expect(rest.report.tokens == 79 && cache.count == 150)
  }

  @Test func `the report counts pairs, chunks and seconds`() throws {
    let model = try TemporaryCheckpoint().load()
    let result = try model.prefill(
      TemporaryCheckpoint.ids(100), cache: try model.makeCache(capacity: 100),
      options: PrefillOptions(chunk: 64))
    let report = result.report
    #expect(report.chunks == 2 && report.tokens == 100)
    #expect(report.computedPairs == Array(repeating: Array(repeating: 5050, count: 4), count: 2))
    #expect(report.density == 1 && report.recall == nil && report.denseFallbacks.isEmpty)
    #expect(report.seconds > 0 && report.kernelSeconds > 0 && report.indexSeconds == 0)
    #expect(report.kernelSeconds + report.otherSeconds <= report.seconds)
  }

  @Test func `progress rises to one and tells the tokens of the prompt`() throws {
    let model = try TemporaryCheckpoint().load()
    let seen = Mutex<[PrefillProgress]>([])
    _ = try model.prefill(
      TemporaryCheckpoint.ids(200), cache: try model.makeCache(capacity: 200),
      options: PrefillOptions(
        chunk: 96, rowBlock: 32, progress: { progress in seen.withLock { $0.append(progress) } }))
    let steps = seen.withLock { $0 }
    // Cuts at 64, 96, 128 and 192 make 5 blocks; each is passed over twice in both layers.
    #expect(steps.count == 20)
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.fraction < $1.fraction })
    #expect(steps.allSatisfy { $0.tokens == 200 })
    #expect(abs((steps.last?.fraction ?? 0) - 1) < 1e-9)
    #expect((steps.first?.fraction ?? 1) < 0.1)
  }

  @Test func `a cancelled prefill keeps whole chunks and can be taken up again`() throws {
    let model = try TemporaryCheckpoint().load()
    let ids = TemporaryCheckpoint.ids(200)
    let cache = try model.makeCache(capacity: 200)
    let asked = Atomic(0)
    // A chunk of one block asks once in each pass of each layer: 6 lets one chunk pass.
    #expect(throws: CancellationError.self) {
      try model.prefill(
        ids, cache: cache,
        options: PrefillOptions(
          chunk: 64, rowBlock: 32,
          isCancelled: { asked.add(1, ordering: .relaxed).newValue > 6 }))
    }
    #expect(cache.count == 64)
    let rest = try model.prefill(Array(ids[64...]), cache: cache)
    let whole = try model.prefill(ids, cache: try model.makeCache(capacity: 200))
    #expect(distance(rest.logits, from: whole.logits, width: model.vocabularySize) < 2e-5)
  }

  @Test
  func `the first prompt of a cache decides its rotary frequencies, however often it is replaced`()
    throws
  {
    let checkpoint = try TemporaryCheckpoint(fields: [
      "max_position_embeddings": "32", "rope_scaling": #"{"type": "dynamic", "factor": 8.0}"#,
    ])
    let model = try checkpoint.load()
    #expect(model.contextLength == 256)
    let cache = try model.makeCache(capacity: 256)
    #expect(throws: CancellationError.self) {
      try model.prefill(
        TemporaryCheckpoint.ids(250), cache: cache, options: PrefillOptions(isCancelled: { true }))
    }
    for tokens in [90, 40, 120] {
      cache.truncate(to: 0)
      let ids = TemporaryCheckpoint.ids(tokens)
      let whole = try score(model, ids)
      #expect(distance(try score(model, ids, cache: cache), from: whole, width: 40) < 2e-5)
      #expect(cache.sequenceLength == tokens)
      // Tokens that follow keep to the frequencies of the prompt.
      _ = try model.decode(1, cache: cache)
      #expect(cache.sequenceLength == tokens)
    }
    let short = try score(model, TemporaryCheckpoint.ids(40))
    let other = try score(
      model, TemporaryCheckpoint.ids(40),
      cache: try model.makeCache(capacity: 40, sequenceLength: 120))
    #expect(distance(other, from: short, width: 40) > 1e-3)
  }

  @Test func `what the progress callback throws ends the prefill`() throws {
    struct Enough: Error {}
    let model = try TemporaryCheckpoint().load()
    #expect(throws: Enough.self) {
      try model.prefill(
        [1, 2, 3], cache: try model.makeCache(capacity: 3),
        options: PrefillOptions(progress: { _ in throw Enough() }))
    }
  }

  @Test(arguments: [nil, 64])
  func `computing only the last row of the last layer changes no logits`(chunk: Int?) throws {
    let checkpoint = try TemporaryCheckpoint(layers: 3)
    let model = try checkpoint.load()
    let ids = TemporaryCheckpoint.ids(150)
    let whole = try model.prefill(ids, cache: try model.makeCache(capacity: 151))
    let cache = try model.makeCache(capacity: 151)
    let short = try model.prefill(
      ids, cache: cache, options: PrefillOptions(chunk: chunk, lastLayerLastRowOnly: true))
    #expect(distance(short.logits, from: whole.logits, width: model.vocabularySize) < 2e-5)
    #expect(short.report.computedPairs[1] == whole.report.computedPairs[1])
    #expect(short.report.computedPairs[2] == [150, 150, 150, 150])
    #expect(short.report.causalPairs[2] == [150, 150, 150, 150])
    // The keys and values of the last layer are all there: the next token sees them.
    let other = try model.makeCache(capacity: 151)
    _ = try model.prefill(ids, cache: other)
    let next = try model.decode(5, cache: cache)
    #expect(
      distance(next, from: try model.decode(5, cache: other), width: model.vocabularySize) < 2e-5)
  }

  @Test func `two sequences on one model at the same time do not disturb each other`() async throws
  {
    let model = try TemporaryCheckpoint().load()
    let prompts = (0..<4).map { TemporaryCheckpoint.ids(130 + Int($0), seed: $0) }
    let alone = try prompts.map { try score(model, $0) }
    let together = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
      for (index, prompt) in prompts.enumerated() {
        group.addTask { (index, try score(model, prompt, PrefillOptions(chunk: 32))) }
      }
      return try await group.reduce(into: [Int: [Float]]()) { $0[$1.0] = $1.1 }
    }
    for (index, expected) in alone.enumerated() {
      let values = try #require(together[index])
      #expect(distance(values, from: expected, width: model.vocabularySize) < 2e-5)
    }
  }
}
