import MInference
import TemporaryCheckpoints
import Testing

/// Sessions of a model that answers in channels.
@Suite struct AnswerPartsTests {
  private let directory: TemporaryDirectory
  private let model: LanguageModel

  init() throws {
    (directory, model) = try TinyModel.make { try HarmonyCheckpoint.write(to: $0) }
  }

  /// Joins parts of a kind that follow each other.
  private func answer(
    _ prompt: Prompt, inChatForm: Bool = true, stopStrings: [String] = []
  ) async throws -> (parts: [AnswerPart], metrics: GenerationMetrics) {
    let session = try model.makeSession(capacity: 100)
    try await session.prefill(model.encode(prompt))
    var parts: [AnswerPart] = []
    let stream = session.generateParts(
      GenerationOptions(maximumTokens: 30, stopStrings: stopStrings), inChatForm: inChatForm)
    for try await part in stream {
      switch (parts.last, part) {
      case (.text(let text), .text(let more)): parts[parts.count - 1] = .text(text + more)
      case (.reasoning(let text), .reasoning(let more)):
        parts[parts.count - 1] = .reasoning(text + more)
      default: parts.append(part)
      }
    }
    return (parts, session.metrics)
  }

  @Test func `what was thought is told from the answer`() async throws {
    let found = try await answer(.user("Where?"))
    #expect(found.parts == [.reasoning("Hm."), .text("Yes.")])
    #expect(found.metrics.finish == .endOfText && found.metrics.completionTokens == 11)
    // Without being asked for, it is one text.
    let session = try model.makeSession(capacity: 100)
    try await session.prefill(model.encode(.user("Where?")))
    var text = ""
    for try await piece in session.generate() { text += piece }
    #expect(text == "analysisHm.assistantfinalYes.")
    #expect(try await answer(.user("Where?"), inChatForm: false).parts == [.text(text)])
  }

  @Test func `stop strings are looked for in the answer alone`() async throws {
    let found = try await answer(.user("Where?"), stopStrings: ["m", "es"])
    #expect(found.parts == [.reasoning("Hm."), .text("Y")])
    #expect(found.metrics.finish == .stopString("es"))
  }

  @Test func `a model without channels writes text alone`() async throws {
    try TinyCheckpoint.write(to: directory, name: "tiny")
    let tiny = try TinyModel.load("tiny", in: directory)
    var texts: [String] = []
    for asksForParts in [false, true] {
      let session = try tiny.makeSession(capacity: 100)
      try await session.prefill(tiny.encode(.user("<think>Where?")))
      var text = ""
      if asksForParts {
        for try await part in session.generateParts() {
          guard case .text(let more) = part else {
            Issue.record("\(part) is no text")
            continue
          }
          text += more
        }
      } else {
        for try await piece in session.generate() { text += piece }
      }
      texts.append(text)
    }
    #expect(texts[0] == texts[1] && !texts[0].isEmpty)
  }
}
