import MInference
import TemporaryCheckpoints
import Testing

/// Answers in the harmony format that an engine makes, with a tokenizer that has its markers.
@Suite struct HarmonyAnswerTests {
  private let directory: TemporaryDirectory
  private let model: LanguageModel

  init() throws {
    (directory, model) = try TinyModel.make { try HarmonyCheckpoint.write(to: $0) }
  }

  /// Holds an answer to these tokens.
  private struct Script: AnswerConstraint {
    var ids: [Int32]

    var isComplete: Bool { ids.isEmpty }

    mutating func restrict(_ logits: inout [Float], stopIDs: Set<Int32>, remaining: Int) {
      let wanted = ids.first.map { [$0] } ?? stopIDs
      for id in logits.indices where !wanted.contains(Int32(id)) { logits[id] = -.infinity }
    }

    mutating func accept(_ id: Int32) { if !ids.isEmpty { ids.removeFirst() } }
  }

  @Test(arguments: [[], ["<|stop|>"], ["Never said."]])
  func `an engine's answer is told apart`(stopStrings: [String]) async throws {
    let markers = try #require(HarmonyMarkers(model.tokenizer))
    #expect(markers.ids.count == 7)
    let text =
      "<|channel|>analysis<|message|>I look <|.<|end|><|start|>assistant<|channel|>commentary "
      + "to=functions.f <|constrain|>json<|message|>{\"a\": 1}"
    let script = model.tokenizer.encode(text)
    #expect(script.count { markers.ids[$0] != nil } == 7)
    let engine = try Engine(model: model)
    var request = AnswerRequest(
      prompt: try model.encode(.raw("Where?")), stopStrings: stopStrings,
      constraint: Script(ids: script))
    request.showsControlTokens = true
    var parser = OutputParser(markers, readsToolCalls: true) { "call-1" }
    var output = CollectedOutput()
    for try await event in try engine.submit(request) {
      parser.take(event).forEach { output.add($0) }
    }
    #expect(output.reasoning == "I look <|." && output.text.isEmpty)
    #expect(output.toolCalls.map(\.name) == ["f"])
    #expect(output.toolCalls.map(\.arguments) == ["{\"a\": 1}"])
    #expect(output.end?.reason == .toolCalls)
    #expect(output.end?.summary.completionTokens == script.count)
    // Without being asked for, control tokens are no text.
    request.showsControlTokens = false
    var plain = ""
    for try await event in try engine.submit(request) {
      if case .token(let token) = event { plain += token.text }
      if case .finished(let summary) = event { plain += summary.text }
    }
    #expect(plain == "analysisI look <|.assistantcommentary to=functions.f json{\"a\": 1}")
    await engine.stop()
  }

  /// What is told apart of an answer that has these tokens.
  private func output(
    _ text: String, stopStrings: [String]
  ) async throws -> CollectedOutput {
    let markers = try #require(HarmonyMarkers(model.tokenizer))
    let engine = try Engine(model: model)
    var request = AnswerRequest(
      prompt: try model.encode(.raw("Where?")), stopStrings: stopStrings,
      constraint: Script(ids: model.tokenizer.encode(text)))
    request.expectHarmony(markers, model.tokenizer)
    var parser = OutputParser(markers, readsToolCalls: true) { "call-1" }
    var output = CollectedOutput()
    for try await event in try engine.submit(request) {
      parser.take(event).forEach { output.add($0) }
    }
    await engine.stop()
    return output
  }

  @Test(arguments: ["final", "final <|constrain|>json"])
  func `stop strings end the final message, and no other`(header: String) async throws {
    let found = try await output(
      "<|channel|>analysis<|message|>final STOP here<|end|><|start|>assistant<|channel|>"
        + "\(header)<|message|>There. STOP and more", stopStrings: ["STOP"])
    #expect(found.reasoning == "final STOP here" && found.text == "There. ")
    #expect(found.end?.summary.finish == .stopString("STOP"))
  }

  @Test(arguments: ["<|end", "start", ".<|", "assistant", "STOP"])
  func `markers, headers and later messages are no stop strings`(stop: String) async throws {
    let found = try await output(
      "<|channel|>final<|message|>There.<|end|><|start|>assistant<|channel|>analysis<|message|>"
        + "STOP?<|end|><|start|>assistant<|channel|>final<|message|>Done.", stopStrings: [stop])
    #expect(found.text == "There.\n\nDone." && found.reasoning == "STOP?")
    #expect(found.end?.summary.finish == .endOfText)
  }

  @Test func `another vocabulary has no markers`() throws {
    try TinyCheckpoint.write(to: directory, name: "other")
    let other = try TinyModel.load("other", in: directory)
    #expect(HarmonyMarkers(other.tokenizer) == nil)
  }
}
