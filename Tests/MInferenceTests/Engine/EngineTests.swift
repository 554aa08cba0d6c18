import Files
import MInference
import TemporaryCheckpoints
import Testing

@Suite struct EngineTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make() }

  private var asker: Asker { Asker(model: model) }

  /// Asks all at once, and expects of each the answer that it gets alone.
  ///
  /// - Returns: The tokens that were cached for each, ascending.
  private func cachedTokens(
    of prompts: [[Int32]], askedTogetherOf engine: Engine
  ) async throws -> [Int] {
    let asker = asker
    return try await withThrowingTaskGroup(of: Int.self) { group in
      for prompt in prompts {
        group.addTask {
          let found = try await asker.answer(
            engine, AnswerRequest(prompt: prompt, maximumTokens: 6))
          #expect(try found.text == asker.single(prompt, tokens: 6))
          return found.cached
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }.sorted()
    }
  }

  @Test func `an answer is that of a session, and its figures add up`() async throws {
    let engine = try Engine(model: model)
    let prompt = try model.encode(.raw(asker.text(1)))
    let found = try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 20))
    #expect(try found.text == asker.single(prompt, tokens: 20))
    #expect(found.finish == .length && found.ids.count == 20 && found.cached == 0)
    #expect(found.progress.first?.processed == 0)
    #expect(found.progress.last?.processed == prompt.count)
    await engine.stop()
    #expect(engine.currentMetrics.finished == ["length": 1])
    #expect(engine.currentMetrics.completionTokens == 20)
    #expect(engine.currentMetrics.promptTokens == prompt.count)
    #expect(engine.currentMetrics.computedTokens == prompt.count)
  }

  @Test func `many requests at once get the answers that each gets alone`() async throws {
    var options = EngineOptions(runningSequences: 3, stallSeconds: 0.001)
    options.session.chunk = 128
    let engine = try Engine(model: model, options: options)
    let asker = asker
    let prompts = try (0..<9).map { number in
      // Some begin alike.
      try model.encode(
        .raw(asker.text(number % 4, length: 200 + 30 * number) + "Question \(number)?"))
    }
    let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
      for (number, prompt) in prompts.enumerated() {
        group.addTask {
          (
            number,
            try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 12)).text
          )
        }
      }
      var answers: [Int: String] = [:]
      for try await (number, text) in group { answers[number] = text }
      return answers
    }
    for (number, prompt) in prompts.enumerated() {
      #expect(try answers[number] == asker.single(prompt, tokens: 12), "request \(number)")
    }
    await engine.stop()
    #expect(engine.currentMetrics.running == 0 && engine.currentMetrics.waiting == 0)
  }

  @Test func `a second question about a document reads only itself, with the same answer`()
    async throws
  {
    let engine = try Engine(model: model)
    let document = asker.text(2, length: 900)
    let first = try model.encode(.raw(document + "Where is the map?"))
    let second = try model.encode(.raw(document + "Who has the lantern?"))
    _ = try await asker.answer(engine, AnswerRequest(prompt: first, maximumTokens: 8))
    let found = try await asker.answer(engine, AnswerRequest(prompt: second, maximumTokens: 8))
    #expect(found.cached >= document.utf8.count - 1 && found.cached < second.count)
    #expect(try found.text == asker.single(second, tokens: 8))
    #expect(engine.currentMetrics.computedTokens == first.count + second.count - found.cached)
    // Another kind of attention has other keys and values.
    var dense = AnswerRequest(prompt: second, maximumTokens: 8)
    dense.attention = AttentionOptions(mode: .dense)
    #expect(try await asker.answer(engine, dense).cached == 0)
    await engine.stop()
  }

  @Test func `questions that come together about one document read it once`() async throws {
    var options = EngineOptions(stallSeconds: 0.001)
    options.session.chunk = 256
    let engine = try Engine(model: model, options: options)
    let document = asker.text(3, length: 1400)
    let prompts = try (0..<3).map { try model.encode(.raw(document + "Question \($0)?")) }
    let cached = try await cachedTokens(of: prompts, askedTogetherOf: engine)
    #expect(cached[0] == 0 && cached[1] >= 1400 && cached[2] >= 1400)
    await engine.stop()
  }

  @Test func `a reader that goes ends the reading, and what was finished is kept`() async throws {
    var options = EngineOptions(stallSeconds: 0.001)
    options.session.chunk = 128
    let engine = try Engine(model: model, options: options)
    let prompt = try model.encode(.raw(asker.text(4, length: 1900)))
    let task = Task {
      for try await event in try engine.submit(AnswerRequest(prompt: prompt, maximumTokens: 4)) {
        if case .progress(let progress) = event, progress.processed > 0 { return }
      }
    }
    try await task.value
    // The iterator is gone; the engine notices at the next block.
    while engine.currentMetrics.finished["cancelled"] == nil, engine.currentMetrics.running > 0 {
      try await Task.sleep(for: .milliseconds(5))
    }
    let again = try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 4))
    #expect(try again.text == asker.single(prompt, tokens: 4))
    await engine.stop()
    // Of the first reading counts what was done: at most a chunk of it was computed twice.
    let metrics = engine.currentMetrics
    #expect(metrics.promptTokens == 2 * prompt.count)
    #expect(
      (prompt.count - again.cached...prompt.count + 128).contains(metrics.computedTokens),
      "\(metrics.computedTokens) of \(prompt.count)")
  }

  @Test func `a queue that is full refuses, and an engine that stops`() async throws {
    let engine = try Engine(model: model, options: EngineOptions(queueLength: 0))
    let request = AnswerRequest(prompt: try model.encode(.raw("The map")), maximumTokens: 1)
    #expect(throws: EngineError.queueFull(length: 0)) { try engine.submit(request) }
    await engine.stop()
    #expect(throws: EngineError.stopping) { try engine.submit(request) }
  }

  @Test func `a request that waits too long is given up`() async throws {
    let engine = try Engine(
      model: model, options: EngineOptions(runningSequences: 1, queueSeconds: 0))
    let prompt = try model.encode(.raw(asker.text(5, length: 1800)))
    var request = AnswerRequest(prompt: prompt, maximumTokens: 200)
    request.ignoresEndOfText = true
    let first = try engine.submit(request)
    var iterator = first.makeAsyncIterator()
    // Its reading has begun: nothing else runs before it ends.
    _ = try await iterator.next()
    await #expect(throws: EngineError.queueTimeout(seconds: 0)) {
      try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 1))
    }
    await engine.stop()
  }

  @Test func `a sequence that the memory cannot hold is refused with the longest that it can`()
    async throws
  {
    let tokens = 512
    let bytes = 2 * TinyCheckpoint.layers * 64 * 4
    let engine = try Engine(model: model, options: EngineOptions(memoryBytes: tokens * bytes))
    let prompt = try model.encode(.raw(asker.text(6, length: 600)))
    await #expect(throws: EngineError.doesNotFit(tokens: prompt.count + 10, longest: tokens)) {
      try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 10))
    }
    // Kept sequences make room for new ones.
    for number in 0..<4 {
      let prompt = try model.encode(.raw(asker.text(number, length: 200)))
      let found = try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 5))
      #expect(try found.text == asker.single(prompt, tokens: 5))
    }
    await engine.stop()
  }

  @Test func `log-probabilities are those of a score, and penalties do not change them`()
    async throws
  {
    let engine = try Engine(model: model)
    let prompt = try model.encode(.raw(asker.text(7)))
    var request = AnswerRequest(prompt: prompt, maximumTokens: 6, logProbabilities: 3)
    request.sampling = SamplingOptions(temperature: 0, repetitionPenalty: 1.3)
    var ids: [Int32] = []
    var values: [Float] = []
    for try await event in try engine.submit(request) {
      guard case .token(let token) = event, let probability = token.logProbability else { continue }
      ids.append(token.id)
      values.append(probability.value)
      #expect(probability.likeliest.count == 3)
      #expect(probability.likeliest[0].value >= probability.likeliest[1].value)
    }
    let score = try await model.score(prompt + ids)
    for (value, expected) in zip(values, score.logProbabilities.suffix(ids.count)) {
      #expect(abs(value - expected) < 1e-3)
    }
    #expect(values.count == 6)
    await engine.stop()
  }

  @Test func `a prefix on disk survives a restart, and a damaged one is removed`() async throws {
    let path = directory.path("cache")
    let options = EngineOptions(disk: .init(path: path, leastTokens: 256))
    let document = asker.text(8, length: 1200)
    let first = try model.encode(.raw(document + "Where?"))
    let second = try model.encode(.raw(document + "Who is it?"))
    let engine = try Engine(model: model, options: options)
    _ = try await asker.answer(engine, AnswerRequest(prompt: first, maximumTokens: 4))
    await engine.stop()
    let files = { try WholeFile.names(inDirectory: path).filter { $0.hasSuffix(".keys") } }
    #expect(try files().count == 1)

    let restarted = try Engine(model: model, options: options)
    let found = try await asker.answer(restarted, AnswerRequest(prompt: second, maximumTokens: 8))
    #expect(found.cached >= 1200)
    #expect(try found.text == asker.single(second, tokens: 8))
    await restarted.stop()
    #expect(restarted.currentMetrics.diskHits == 1)

    // One byte of the keys is another.
    let file = try #require(try files().first)
    var bytes = try WholeFile.bytes(of: "\(path)/\(file)")
    bytes[9000] ^= 1
    try directory.write(bytes, to: "cache/\(file)")
    let third = try Engine(model: model, options: options)
    let again = try await asker.answer(third, AnswerRequest(prompt: second, maximumTokens: 8))
    #expect(again.cached == 0 && again.text == found.text)
    await third.stop()
  }

  @Test func `conversations that share a document hold it once where memory is short`()
    async throws
  {
    let bytes = 2 * TinyCheckpoint.layers * 64 * 4
    let path = directory.path("shared")
    // Two sequences of the longest length, and a bit.
    let options = EngineOptions(
      memoryBytes: (2 * TinyCheckpoint.context + 1100) * bytes,
      disk: .init(path: path, leastTokens: 256))
    let engine = try Engine(model: model, options: options)
    let document = asker.text(9, length: 1000)
    let conversations = (0..<3).map { document + asker.text(20 + $0, length: 350) }
    for (number, text) in conversations.enumerated() {
      let prompt = try model.encode(.raw(text))
      let found = try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 4))
      #expect(try found.text == asker.single(prompt, tokens: 4))
      #expect(number == 0 ? found.cached == 0 : found.cached >= 1000)
    }
    #expect(engine.currentMetrics.keptSequences == 3)
    // All three are still there, the document in one of them.
    for text in conversations {
      let prompt = try model.encode(.raw(text + "Who?"))
      let found = try await asker.answer(engine, AnswerRequest(prompt: prompt, maximumTokens: 4))
      #expect(try found.text == asker.single(prompt, tokens: 4))
      #expect(found.cached >= 1350)
    }
    #expect(engine.currentMetrics.keyValueBytes <= options.memoryBytes ?? 0)
    await engine.stop()

    // Their files are whole.
    let restarted = try Engine(model: model, options: options)
    let prompt = try model.encode(.raw(conversations[1] + "Who?"))
    let found = try await asker.answer(restarted, AnswerRequest(prompt: prompt, maximumTokens: 4))
    #expect(try found.text == asker.single(prompt, tokens: 4))
    #expect(found.cached >= 1350)
    await restarted.stop()
    #expect(restarted.currentMetrics.diskHits == 1)
  }

  @Test func `a model whose layers are on two devices answers side by side and shares prefixes`()
    async throws
  {
    let devices = try #require(DeviceList("cpu,cpu"))
    let spread = try LanguageModel(
      LoadOptions(directory: directory.path("model"), threads: 1, devices: devices))
    let engine = try Engine(model: spread)
    let document = asker.text(5, length: 700)
    let prompts = try (0..<3).map { try model.encode(.raw(document + "Question \($0)?")) }
    let cached = try await cachedTokens(of: prompts, askedTogetherOf: engine)
    #expect(cached[0] == 0 && cached[1] >= 700 && cached[2] >= 700)
    await engine.stop()
  }
}
