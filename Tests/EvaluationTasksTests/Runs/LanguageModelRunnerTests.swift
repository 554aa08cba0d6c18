import EvaluationTasks
import MInference
import Testing

enum BuiltInModel {
  static let directory =
    #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" }
    + "/Models/minference-tiny"
  static let isThere = TextFile.exists(directory + "/model.safetensors")
}

/// The suite on the model that comes with the package.
@Suite(.enabled(if: BuiltInModel.isThere, "Models holds no checkpoint"))
struct LanguageModelRunnerTests {
  private func runner(
    _ modes: [AttentionMode], form: LanguageModelRunner.Form = LanguageModelRunner.Form()
  ) throws -> LanguageModelRunner {
    LanguageModelRunner(
      try LanguageModel(LoadOptions(directory: BuiltInModel.directory)),
      methods: modes.map { mode in
        LanguageModelRunner.Method(
          name: mode.rawValue,
          options: SessionOptions(
            attention: AttentionOptions(
              mode: mode, budgets: AttentionBudgets(sink: 8, local: 32, vertical: 30, slash: 100),
              exact: true)))
      }, form: form)
  }

  @Test func `a needle is put in the model's form, fitted to the length, and found`() async throws {
    let runner = try runner([.dense])
    let plan = NeedleTask(lengths: [400], depths: [0.5]).plans[0]
    let task = try plan.task { try runner.countTokens($0) }
    let answer = try await runner.answer(task, method: "dense") { _, _ in }
    #expect((330...400 - task.maximumAnswerTokens).contains(answer.promptTokens))
    #expect(task.score(answer.text) == 1, "\(answer.text)")
    #expect(answer.density == 1)
    await #expect(throws: RunError.unknownMethod(name: "slash")) {
      _ = try await runner.answer(task, method: "slash") { _, _ in }
    }
  }

  @Test(arguments: [GeneratedKind.secondQuestion, .graphParents, .latentList])
  func `generated prompts have the length that the model counts`(kind: GeneratedKind) async throws {
    let runner = try runner([.dense])
    let length = kind == .secondQuestion ? 700 : 1500
    let plan = GeneratedTask(kinds: [kind], lengths: [length], prompts: 1).plans[0]
    let task = try plan.task { try runner.countTokens($0) }
    let answer = try await runner.answer(task, method: "dense") { _, _ in }
    let later = try task.laterTurns.reduce(0) { sum, turn in
      try sum + runner.countTokens(turn.question + turn.answerPrefix) + turn.maximumAnswerTokens
    }
    let total = answer.promptTokens + task.maximumAnswerTokens + later
    // The prompt and the answer's beginning are counted with a token more than they mostly take.
    #expect((length - 2...length).contains(total), "\(total)")
  }

  @Test func `a later question is answered behind the first answer`() async throws {
    let runner = try runner([.dense])
    let fact = "One of the special magic numbers for harbor-window is: 7340915."
    let key = "The pass key is 48213. Remember it. 48213 is the pass key."
    var task = EvaluationTask(
      id: "x", kind: "x",
      prompt:
        "The road is long. \(fact) On we walk. \(key) The river is wide.\n\nWhat is the pass key?",
      references: ["7340915"], scoring: .containsAll, maximumAnswerTokens: 16)
    let first = try await runner.answer(task, method: "dense") { _, _ in }
    #expect(first.text.contains("48213"), "\(first.text)")
    task.laterTurns = [
      EvaluationTask.Turn(
        question:
          "What is the special magic number for harbor-window mentioned in the provided text?",
        maximumAnswerTokens: 16)
    ]
    let second = try await runner.answer(task, method: "dense") { _, _ in }
    #expect(task.score(second.text) == 1, "\(second.text)")
    #expect(second.promptTokens == first.promptTokens)
  }

  @Test func `a prompt that is too long loses its middle`() async throws {
    let form = LanguageModelRunner.Form(maximumTokens: 300)
    let runner = try runner([.dense], form: form)
    let text = "Begin. " + String(repeating: "The road is long. ", count: 400) + "The end."
    let task = EvaluationTask(
      id: "x", kind: "x", prompt: text, references: ["x"], scoring: .containsAny,
      maximumAnswerTokens: 2)
    let answer = try await runner.answer(task, method: "dense") { _, _ in }
    #expect((150...300).contains(answer.promptTokens))
  }

  @Test func `recall of a head is the share of its attention that is computed`() async throws {
    let runner = try runner([.aShape])
    let tokens = try EvaluationText.tokens(300, of: nil, seed: 3, for: runner.model)
    let reading = try await runner.recall(tokens, method: "a-shape") { _, _ in }
    #expect(reading.heads.count == runner.model.transformer.layerCount)
    #expect(reading.heads.joined().allSatisfy { (0...1).contains($0.mean) && $0.density < 0.9 })
    #expect((0.5..<1).contains(reading.mean))
    let score = try await runner.score(tokens, method: "a-shape") { _, _ in }
    #expect(score.logProbabilities.count == 299)
  }

  @Test func `static attention applies the indices of a calibration prompt`() async throws {
    let runner = try runner([.static])
    let first = try EvaluationText.tokens(300, of: nil, seed: 3, for: runner.model)
    let second = try EvaluationText.tokens(300, of: nil, seed: 4, for: runner.model)
    var options = AttentionOptions(
      mode: .static, budgets: AttentionBudgets(vertical: 60, slash: 60), exact: true)
    let planner = try runner.model.planner(for: options)
    let kept = try IndexSurvey.keptSelections(runner.model, tokens: first, planner: planner)
    #expect(kept[0, 0]?.columns.count == 60)
    let own = try await runner.model.score(second, options: SessionOptions(attention: options))
    options.calibratedSelections = kept
    let other = try await runner.model.score(second, options: SessionOptions(attention: options))
    #expect(own.logProbabilities != other.logProbabilities)
  }
}
