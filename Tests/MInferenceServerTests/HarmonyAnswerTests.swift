import MInference
import MInferenceServer
import TemporaryCheckpoints
import Testing

/// Answers in the harmony format that an engine makes, with a tokenizer that has its markers.
@Suite struct HarmonyAnswerTests {
  private let directory: TemporaryDirectory
  private let model: LanguageModel

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    // The markers take the places of control characters.
    var tokenizer = TinyCheckpoint.tokenizer
    var added = ""
    for (id, marker) in HarmonyMarkers.Marker.allCases.enumerated() {
      tokenizer = tokenizer.replacing("\"\\u010\(id)\": \(id), ", with: "")
      added += """
        {"id": \(id), "content": "\(marker.rawValue)", "single_word": false, "lstrip": false, \
        "rstrip": false, "normalized": false, "special": true},
        """
    }
    tokenizer = tokenizer.replacing("\"added_tokens\": [", with: "\"added_tokens\": [" + added)
    try directory.write(tokenizer, to: "model/tokenizer.json")
    model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
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

  @Test func `stop strings end the final message, and no other`() async throws {
    let markers = try #require(HarmonyMarkers(model.tokenizer))
    let engine = try Engine(model: model)
    var request = AnswerRequest(
      prompt: try model.encode(.raw("Where?")), stopStrings: ["STOP"],
      constraint: Script(
        ids: model.tokenizer.encode(
          "<|channel|>analysis<|message|>final STOP here<|end|><|start|>assistant<|channel|>"
            + "final<|message|>There. STOP and more")))
    request.showsControlTokens = true
    request.stopStringsBehind = markers.finalChannel(model.tokenizer)
    var parser = OutputParser(markers, readsToolCalls: true) { "call-1" }
    var output = CollectedOutput()
    for try await event in try engine.submit(request) {
      parser.take(event).forEach { output.add($0) }
    }
    #expect(output.reasoning == "final STOP here" && output.text == "There. ")
    #expect(output.end?.summary.finish == .stopString("STOP"))
    await engine.stop()
  }

  @Test func `another vocabulary has no markers`() throws {
    try TinyCheckpoint.write(to: directory, name: "other")
    let other = try LanguageModel(
      LoadOptions(directory: directory.path("other"), device: .cpu, threads: 1))
    #expect(HarmonyMarkers(other.tokenizer) == nil)
  }
}
