import MInference
import TemporaryCheckpoints
import Testing

/// An engine whose model is spread over two devices, beside sessions of one.
@Suite struct PipelineEngineTests {
  private let directory: TemporaryDirectory
  private let model: LanguageModel
  private let alone: LanguageModel

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    alone = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    var options = LoadOptions(directory: directory.path("model"), threads: 2)
    options.devices = DeviceList("cpu,cpu")
    model = try LanguageModel(options)
  }

  private static func answer(
    _ engine: Engine, _ prompt: [Int32]
  ) async throws -> (text: String, cached: Int) {
    var (text, cached) = ("", 0)
    for try await event in try engine.submit(AnswerRequest(prompt: prompt, maximumTokens: 9)) {
      switch event {
      case .progress: break
      case .token(let token): text += token.text
      case .finished(let summary):
        text += summary.text
        cached = summary.cachedTokens
      }
    }
    return (text, cached)
  }

  private func expected(_ prompt: [Int32]) async throws -> String {
    let session = try alone.makeSession(capacity: prompt.count + 10)
    try await session.prefill(prompt)
    var text = ""
    for try await piece in session.generate(GenerationOptions(maximumTokens: 9)) { text += piece }
    return text
  }

  @Test func `requests at once get one device's answers, and share what they begin with`()
    async throws
  {
    #expect(model.transformer.distribution?.stageDescriptions.count == 2)
    var options = EngineOptions(runningSequences: 3, stallSeconds: 0.001)
    options.session.chunk = 128
    let engine = try Engine(model: model, options: options)
    let document = String(repeating: "The lantern stands by the river. ", count: 20)
    let prompts = try (0..<6).map { number in
      try model.encode(
        .raw(
          (number < 3 ? document : String(document.dropFirst(40 * number)))
            + "Question \(number)?"))
    }
    let answers = try await withThrowingTaskGroup(of: (Int, String, Int).self) { group in
      for (number, prompt) in prompts.enumerated() {
        group.addTask {
          let (text, cached) = try await Self.answer(engine, prompt)
          return (number, text, cached)
        }
      }
      var answers: [Int: (text: String, cached: Int)] = [:]
      for try await (number, text, cached) in group { answers[number] = (text, cached) }
      return answers
    }
    for (number, prompt) in prompts.enumerated() {
      #expect(try await answers[number]?.text == expected(prompt), "request \(number)")
    }
    // Two of the three that begin alike got the beginning of another one.
    #expect((0..<3).count { (answers[$0]?.cached ?? 0) >= document.utf8.count - 1 } == 2)
    await engine.stop()
  }

  @Test func `what is on disk comes back to all devices, and to one`() async throws {
    let document = String(repeating: "The lantern stands by the river. ", count: 30)
    let prompts = try (0..<3).map { try model.encode(.raw(document + "Question \($0)?")) }
    var disk = PrefixDirectory.Options(path: directory.path("cache"), leastTokens: 256)
    disk.blockBytes = 16 * 512
    let options = EngineOptions(disk: disk)
    for (number, model) in [model, model, alone].enumerated() {
      let engine = try Engine(model: model, options: options)
      let (text, cached) = try await Self.answer(engine, prompts[number])
      #expect(try await text == expected(prompts[number]))
      #expect(number == 0 ? cached == 0 : cached >= document.utf8.count - 1)
      await engine.stop()
    }
  }
}
