import MInference
import TemporaryCheckpoints
import Testing
import Transformers

/// Looking at a head, beside answers that run.
@Suite struct ObservedHeadTests {
  private let directory: TemporaryDirectory
  private let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make() }

  private var asker: Asker { Asker(model: model) }

  private static func observe(
    _ engine: Engine, _ prompt: [Int32], _ head: ObservedHead
  ) async throws -> HeadObservation? {
    var request = AnswerRequest(
      prompt: prompt,
      attention: AttentionOptions(
        mode: .verticalSlash, budgets: AttentionBudgets(vertical: 20, slash: 40), exact: true))
    request.observedHead = head
    var summary: AnswerSummary?
    var processed = 0
    for try await event in try engine.submit(request) {
      switch event {
      case .progress(let progress): processed = max(processed, progress.processed)
      case .token: Issue.record("nothing is answered")
      case .finished(let finished): summary = finished
      }
    }
    #expect(summary?.completionTokens == 0 && summary?.promptTokens == prompt.count)
    #expect(processed <= prompt.count)
    return summary?.observation
  }

  @Test func `an answer that runs is the same, and what is seen too`() async throws {
    var options = EngineOptions(stallSeconds: 0.001)
    options.session.chunk = 256
    let engine = try Engine(model: model, options: options)
    let prompt = try model.encode(.raw(asker.text(3, length: 1200)))
    let head = ObservedHead(layer: 1, head: 1, cells: 40)
    let alone = try #require(try await Self.observe(engine, prompt, head))
    #expect(alone.pattern == "vertical-slash(20, 40)" && alone.tokens == prompt.count)
    #expect(alone.cells.count == 40 && (0.05..<0.95).contains(alone.density))
    #expect((0.05..<0.999).contains(alone.keptMass))

    // It is no prompt of an answer.
    #expect(engine.currentMetrics.computedTokens == 0 && engine.currentMetrics.promptTokens == 0)
    #expect(engine.currentMetrics.prefillSeconds == 0)

    let asked = try model.encode(.raw("Where is the lantern?"))
    let asker = asker
    async let answer = asker.answer(engine, AnswerRequest(prompt: asked, maximumTokens: 60))
    async let beside = Self.observe(engine, prompt, head)
    #expect(try await answer.text == asker.single(asked, tokens: 60))
    #expect(try await beside == alone)
    // It leaves nothing: only the answer's sequence is kept.
    #expect(engine.currentMetrics.keptSequences == 1)
    await engine.stop()
    #expect(engine.currentMetrics.finished == ["read": 2, "length": 1])
    #expect(engine.currentMetrics.computedTokens == asked.count)
    #expect(engine.currentMetrics.prefillSeconds > 0)
  }

  @Test func `several devices see what one sees`() async throws {
    var loading = LoadOptions(directory: directory.path("model"), threads: 2)
    loading.devices = DeviceList("cpu,cpu")
    let spread = try LanguageModel(loading)
    let prompt = try model.encode(.raw(asker.text(4, length: 700)))
    var options = EngineOptions()
    options.session.chunk = 256
    let (one, two) = (
      try Engine(model: model, options: options), try Engine(model: spread, options: options)
    )
    for layer in 0..<2 {
      let head = ObservedHead(layer: layer, head: 0, cells: 30)
      let expected = try await Self.observe(one, prompt, head)
      let found = try await Self.observe(two, prompt, head)
      #expect(found != nil && found == expected)
    }
    await one.stop()
    await two.stop()
  }

  @Test func `what cannot be looked at is refused`() async throws {
    let engine = try Engine(model: model, options: EngineOptions(memoryBytes: 100_000))
    func refusal(_ head: ObservedHead, tokens: Int = 10) -> (any Error)? {
      var request = AnswerRequest(prompt: Array(repeating: 65, count: tokens))
      request.observedHead = head
      do {
        _ = try engine.submit(request)
        return nil
      } catch {
        return error
      }
    }
    #expect(
      refusal(ObservedHead(layer: 2, head: 0)) as? ObservedHeadError == .noLayer(2, layers: 2))
    #expect(
      refusal(ObservedHead(layer: 0, head: -1)) as? ObservedHeadError == .noHead(-1, heads: 2))
    #expect(
      refusal(ObservedHead(layer: 0, head: 0, cells: 257)) as? ObservedHeadError == .cells(257))
    let long = Array(repeating: Int32(65), count: 1000)
    await #expect(throws: EngineError.self) {
      try await Self.observe(engine, long, ObservedHead(layer: 1, head: 0))
    }
    await engine.stop()
  }

  @Test func `going away ends the reading within a block`() async throws {
    let engine = try Engine(model: model, options: EngineOptions())
    var request = AnswerRequest(
      prompt: try model.encode(.raw(asker.text(5, length: 1900))),
      attention: AttentionOptions(mode: .dense))
    request.observedHead = ObservedHead(layer: 1, head: 0)
    let stream = try engine.submit(request)
    let task = Task { for try await _ in stream {} }
    task.cancel()
    _ = await task.result
    for _ in 0..<400 where engine.currentMetrics.finished.isEmpty {
      try await Task.sleep(for: .milliseconds(5))
    }
    #expect(engine.currentMetrics.finished == ["cancelled": 1])
    #expect(engine.currentMetrics.keyValueBytes == 0)
    await engine.stop()
  }
}
