import MInference
import Testing
import Transformers

@Suite struct HarmonyReaderTests {
  private static let markers = HarmonyMarkers(
    ids: Dictionary(
      uniqueKeysWithValues: zip(Int32(1000)..., HarmonyMarkers.Marker.allCases)))

  /// An answer as tokens of so many characters; what stands in `[[...]]` is the text of a marker that comes in
  /// ordinary tokens.
  private func tokens(_ text: String, length: Int) -> [(id: Int32, text: String)] {
    var tokens: [(id: Int32, text: String)] = []
    var rest = Substring(text)
    var isPlain = false
    var letters: [Character] = []
    func flush() {
      while !letters.isEmpty {
        tokens.append((Int32(tokens.count), String(letters.prefix(length))))
        letters.removeFirst(min(length, letters.count))
      }
    }
    while let character = rest.first {
      if rest.hasPrefix("[[") || rest.hasPrefix("]]") {
        isPlain = rest.hasPrefix("[[")
        rest.removeFirst(2)
      } else if !isPlain,
        let found = Self.markers.ids.first(where: { rest.hasPrefix($0.value.rawValue) })
      {
        flush()
        tokens.append((found.key, found.value.rawValue))
        rest.removeFirst(found.value.rawValue.count)
      } else {
        letters.append(character)
        rest.removeFirst()
      }
    }
    flush()
    return tokens
  }

  /// What a parser makes of it if the last characters so far are held back, as what may become a stop string is.
  private func output(
    _ text: String, length: Int, held: Int = 0, readsToolCalls: Bool = true,
    finish: GenerationMetrics.Finish = .endOfText, hasLogProbabilities: Bool = false
  ) -> CollectedOutput {
    var parser = OutputParser(Self.markers, readsToolCalls: readsToolCalls) { "call-1" }
    var output = CollectedOutput()
    var pending: [Character] = []
    let probability = hasLogProbabilities ? TokenLogProbability(value: -1, likeliest: []) : nil
    for token in tokens(text, length: length) {
      pending += token.text
      let certain = max(0, pending.count - held)
      parser.take(
        .token(
          AnswerToken(
            id: token.id, text: String(pending.prefix(certain)), logProbability: probability))
      ).forEach { output.add($0) }
      pending.removeFirst(certain)
    }
    let summary = AnswerSummary(
      finish: finish, text: String(pending), promptTokens: 3, cachedTokens: 0,
      completionTokens: 9, queueSeconds: 0, prefillSeconds: 0, timeToFirstToken: nil,
      decodeSeconds: 0, prefill: PrefillReport(layers: 0, heads: 0), notices: [])
    parser.take(.finished(summary)).forEach { output.add($0) }
    return output
  }

  @Test(arguments: 1...14)
  func `channels are told apart wherever the text is cut and however much is held back`(
    length: Int
  ) throws {
    let text =
      "<|channel|>analysis<|message|>I look <up>.<|end|><|start|>assistant<|channel|>commentary"
      + "<|message|>Let me see.<|end|><|start|>assistant<|channel|>analysis<|message|>More.<|end|>"
      + "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
      + #"{"city": "Rome <|"}"#
    for held in 0...24 {
      let found = output(text, length: length, held: held)
      #expect(found.reasoning == "I look <up>.\n\nMore.")
      #expect(found.text == "Let me see.")
      #expect(found.toolCalls.map(\.id) == ["call-1"])
      #expect(found.toolCalls.map(\.name) == ["weather"])
      #expect(found.toolCalls.map(\.arguments) == [#"{"city": "Rome <|"}"#])
      #expect(found.end?.reason == .toolCalls)
      let reasoning = try #require(found.end).reasoningTokens
      #expect(held > 0 || (reasoning > 0 && reasoning <= 17 / length + 2))
    }
  }

  @Test(arguments: [1, 3, 50])
  func `a final message is the answer, and each of its tokens comes once`(length: Int) {
    let text =
      "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes, "
    let found = output(text + "[[<|end|>]] is text.", length: length, hasLogProbabilities: true)
    #expect(found.text == "Yes, <|end|> is text." && found.reasoning == "Hm.")
    #expect(found.tokens.count == (21 + length - 1) / length)
    #expect(found.end?.reason == .stop && found.toolCalls.isEmpty)
    #expect(output(text, length: length, finish: .length).end?.reason == .length)
  }

  @Test func `arguments stream as they come`() {
    var parser = OutputParser(Self.markers, readsToolCalls: true) { "call-1" }
    var arguments: [String] = []
    for token in tokens(
      "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 12}<|call|>",
      length: 4)
    {
      for piece in parser.take(.token(AnswerToken(id: token.id, text: token.text))) {
        if case .toolArguments(0, let text) = piece { arguments.append(text) }
      }
    }
    #expect(arguments == ["{\"a\"", ": 12", "}"])
  }

  @Test(
    "a recipient stands in either header",
    arguments: [
      ("<|channel|>commentary to=functions.f code<|message|>", "f"),
      (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.f<|channel|>commentary json<|message|>",
        "f"
      ),
      ("<|channel|>analysis to=browser.search <|message|>", "browser.search"),
      (
        "<|channel|>commentary to=assistant<|channel|>commentary to=functions.g<|message|>", "g"
      ),
    ])
  func recipients(header: String, name: String) {
    let found = output(header + "{}", length: 2)
    #expect(found.toolCalls.map(\.name) == [name])
    #expect(found.toolCalls.map(\.arguments) == ["{}"] && found.text.isEmpty)
    // A call of nothing has an object all the same.
    #expect(output(header + "<|call|>", length: 2).toolCalls.map(\.arguments) == ["{}"])
    // Where no functions were offered, nothing is lost.
    let plain = output(header + "{}", length: 2, readsToolCalls: false)
    #expect(plain.text == "{}" && plain.toolCalls.isEmpty && plain.end?.reason == .stop)
  }

  @Test(arguments: [1, 4])
  func `several calls have their own numbers`(length: Int) {
    let call = "<|channel|>commentary to=functions.f <|message|>{}<|call|><|start|>assistant"
    let found = output(call + call, length: length)
    #expect(found.toolCalls.map(\.name) == ["f", "f"])
    #expect(found.toolCalls.map(\.arguments) == ["{}", "{}"])
  }

  @Test func `an answer without channels is text, and a header that is cut off is none`() {
    #expect(output("Just text.", length: 3).text == "Just text.")
    let cut = output(
      "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|chan", length: 3,
      finish: .length)
    #expect(cut.text.isEmpty && cut.reasoning == "Hm.")
  }
}
