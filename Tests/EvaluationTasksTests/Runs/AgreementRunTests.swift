import EvaluationTasks
import MInference
import Testing

@Suite struct AgreementSampleTests {
  @Test func `positions are evenly apart, end where a token still follows, and fall into blocks`() {
    #expect(AgreementSample.spread(4, over: 0..<8) == [1, 3, 5, 7])
    #expect(AgreementSample.spread(9, over: 3..<6) == [3, 4, 5])
    let text = AgreementSample(name: "x", text: Array(0..<1000), positions: 100, last: 500)
    #expect(text.positions.count == 100)
    #expect(text.positions.first == 503 && text.positions.last == 998)
    let whole = AgreementSample(name: "x", text: Array(0..<1000), positions: 2000)
    #expect(whole.positions == Array(0..<999))
  }
}

@Suite(.enabled(if: BuiltInModel.isThere, "Models holds no checkpoint"))
struct AgreementRunTests {
  private func model() throws -> LanguageModel {
    try LanguageModel(LoadOptions(directory: BuiltInModel.directory))
  }

  private func planner(_ pattern: HeadPattern, _ model: LanguageModel) -> AttentionPlanner {
    AttentionPlanner(
      configuration: .uniform(
        pattern, layers: model.transformer.layerCount,
        heads: model.transformer.attentionShape(layer: 0).queryHeads), exact: true)
  }

  @Test func `a retrieval prompt fits its length and holds the answers where it says`() throws {
    let model = try model()
    let prompt = try RetrievalPrompt(length: 1500, seed: 1, for: model)
    #expect((1400...1500).contains(prompt.ids.count))
    #expect(prompt.answers.count == RetrievalPrompt.questions)
    #expect(prompt.positions == prompt.positions.sorted())
    #expect(Set(prompt.positions).count == prompt.positions.count)
    let text = model.tokenizer.decode(prompt.ids, skipSpecialTokens: false)
    for answer in prompt.answers {
      let number = model.tokenizer.decode(
        answer.map { prompt.ids[$0 + 1] }, skipSpecialTokens: false
      ).filter { $0 != " " }
      #expect(number.count == 7 && number.allSatisfy(\.isNumber))
      // Once as a fact, once as an answer.
      #expect(text.split(separator: number, omittingEmptySubsequences: false).count == 3)
    }
    #expect(try prompt == RetrievalPrompt(length: 1500, seed: 1, for: model))
    #expect(try prompt != RetrievalPrompt(length: 1500, seed: 2, for: model))
    #expect {
      _ = try RetrievalPrompt(length: 200, seed: 1, for: model)
    } throws: {
      if case TaskError.tooShort(_, 200, let needed) = $0 { return needed > 200 }
      return false
    }
  }

  @Test
  func `a method equal to dense loses nothing, one with a window loses, and results are resumed`()
    async throws
  {
    let model = try model()
    let tokens = try EvaluationText.tokens(700, of: nil, seed: 3, for: model)
    let samples = [
      AgreementSample(name: "text", text: tokens, positions: 200),
      AgreementSample(
        name: "prompt", prompt: try RetrievalPrompt(length: 1200, seed: 1, for: model)),
    ]
    let methods = [
      AgreementRun.Method(name: "all", planner: planner(.aShape(sink: 1, local: 5000), model)),
      AgreementRun.Method(name: "window", planner: planner(.aShape(sink: 8, local: 64), model)),
    ]
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let records = try await AgreementRun(samples).run(methods, on: model, results: file)
      #expect(records.map(\.method) == ["dense", "all", "window", "dense", "all", "window"])
      for record in records where record.method != "window" {
        #expect(record.sums.meanDivergence < 1e-9 && record.sums.sameShare == 1)
        #expect(record.density == 1)
      }
      let window = records[2].sums
      #expect(window.meanDivergence > 1e-3 && window.sameShare < 1 && records[2].density < 0.6)
      // What the window cannot see is not retrieved.
      #expect(records[5].sums.right < records[3].sums.right)
      #expect(records[3].sums.right == records[3].sums.referenceRight)

      let summary = AgreementSummary(
        records, methods: ["dense", "all", "window"], lengths: ["text": 700, "prompt": 1200])
      #expect(summary.groups.map(\.length) == [700, 1200])
      let figures = summary.figures(summary.groups[0], "window")
      #expect(figures.divergence.low < figures.divergence.mean)
      #expect(figures.divergence.mean < figures.divergence.high)
      #expect(figures.divergence.mean == window.meanDivergence)
      #expect(figures.perplexityRatio.mean == window.perplexityRatio)
      #expect(summary.markdown.contains("By position"))
      #expect(summary.markdown.contains("\(records[5].sums.right) of \(records[5].sums.scored)"))

      let again = try await AgreementRun(samples).run(
        methods, on: model, results: file
      ) { _ in Issue.record("nothing is left to read") }
      #expect(again == records)
    }
  }
}
