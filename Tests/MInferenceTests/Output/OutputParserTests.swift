import MInference
import Testing
import Transformers

@Suite struct OutputParserTests {
  private func summary(_ finish: GenerationMetrics.Finish, text: String = "") -> AnswerSummary {
    AnswerSummary(
      finish: finish, text: text, promptTokens: 3, cachedTokens: 0, completionTokens: 9,
      queueSeconds: 0, prefillSeconds: 0, timeToFirstToken: nil, decodeSeconds: 0,
      prefill: PrefillReport(layers: 0, heads: 0), notices: [])
  }

  /// What a parser makes of a text that comes in tokens of so many characters.
  private func output(
    _ text: String, length: Int, _ parser: OutputParser,
    finish: GenerationMetrics.Finish = .endOfText,
    hasLogProbabilities: Bool = false
  ) -> CollectedOutput {
    var parser = parser
    var output = CollectedOutput()
    var rest = Array(text)
    var id: Int32 = 0
    while !rest.isEmpty {
      let probability = hasLogProbabilities ? TokenLogProbability(value: -1, likeliest: []) : nil
      let token = AnswerToken(
        id: id, text: String(rest.prefix(length)), logProbability: probability)
      rest.removeFirst(min(length, rest.count))
      id += 1
      parser.take(.token(token)).forEach { output.add($0) }
    }
    parser.take(.finished(summary(finish))).forEach { output.add($0) }
    return output
  }

  private func parser(beginsInReasoning: Bool = false, tools: Bool = true) -> OutputParser {
    OutputParser(beginsInReasoning: beginsInReasoning, readsToolCalls: tools) { "call-1" }
  }

  @Test(arguments: 1...12)
  func `reasoning, text and calls are told apart wherever the text is cut`(length: Int) throws {
    let text =
      "<think>I <look> up.</think>Let me see. <tool_call>\n{\"name\": \"weather\", "
      + "\"arguments\": {\"city\": \"Rome </think>\"}}\n</tool_call>"
    let found = output(text, length: length, parser())
    #expect(found.reasoning == "I <look> up.")
    #expect(found.text == "Let me see. ")
    #expect(found.toolCalls.map(\.id) == ["call-1"])
    #expect(found.toolCalls.map(\.name) == ["weather"])
    #expect(found.toolCalls.map(\.arguments) == [#"{"city": "Rome </think>"}"#])
    #expect(found.end?.reason == .toolCalls)
    let reasoning = try #require(found.end).reasoningTokens
    #expect(reasoning > 0 && reasoning <= 34 / length + 1)
  }

  @Test(arguments: 1...9)
  func `several calls have their own numbers, and text may follow`(length: Int) {
    let call = { (name: String, x: Int) in
      "<tool_call>{\"name\": \"\(name)\", \"arguments\": {\"x\": \(x)}}</tool_call>"
    }
    let found = output(
      call("f", 1) + call("g", 2) + "Done.", length: length, parser(), finish: .length)
    #expect(found.toolCalls.map(\.name) == ["f", "g"])
    #expect(found.toolCalls.map(\.arguments) == [#"{"x": 1}"#, #"{"x": 2}"#])
    #expect(found.text == "Done." && found.end?.reason == .length)
  }

  @Test(arguments: [1, 4, 50])
  func `a prompt that opens the reasoning is gone on with`(length: Int) {
    let found = output(
      "I wonder.</think>\n\nYes.", length: length, parser(beginsInReasoning: true))
    #expect(found.reasoning == "I wonder." && found.text == "Yes.")
    #expect(found.end?.reason == .stop)
  }

  @Test(arguments: [1, 5, 50])
  func `what is not looked for stays text, and so does half a tag at the end`(length: Int) {
    let text = "Say <think>no</think> and <tool_call>{}</tool_call> or <tool_c"
    #expect(output(text, length: length, parser(tools: false)).text == text)
    let cut = "Wait <tool_c"
    #expect(output(cut, length: length, parser()).text == cut)
  }

  @Test func `a call that is cut off has what came of it`() {
    let found = output(
      "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": [1, 2", length: 3, parser(),
      finish: .length)
    #expect(found.toolCalls.map(\.arguments) == [#"{"x": [1, 2"#])
    #expect(found.end?.reason == .length && found.text.isEmpty)
  }

  @Test(arguments: [1, 3, 7])
  func `every token of the text comes once with its log-probability`(length: Int) {
    let text = "A <b> and more text"
    let found = output(text, length: length, parser(), hasLogProbabilities: true)
    #expect(found.text == text)
    #expect(found.tokens.map(\.id) == Array(0..<Int32((text.count + length - 1) / length)))
  }
}
