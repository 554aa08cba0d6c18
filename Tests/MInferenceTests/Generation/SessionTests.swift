import MInference
import TemporaryCheckpoints
import Testing

@Suite struct SessionTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws {
    directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    model = try LanguageModel(LoadOptions(directory: directory.path("model"), threads: 2))
  }

  private func answer(_ session: Session, tokens: Int = 12) async throws -> String {
    var text = ""
    for try await piece in session.generate(GenerationOptions(maximumTokens: tokens)) {
      text += piece
    }
    return text
  }

  @Test func `a prompt is read and answered, and the figures add up`() async throws {
    let prompt = try model.encode(.user("Where is the lantern?"))
    let session = try model.makeSession(capacity: prompt.count + 20)
    let report = try await session.prefill(prompt)
    #expect(report.tokens == prompt.count)
    let text = try await answer(session)
    let metrics = session.metrics
    #expect(metrics.promptTokens == prompt.count)
    #expect(metrics.completionTokens <= 12 && (metrics.completionTokens > 0) == !text.isEmpty)
    #expect(metrics.timeToFirstToken >= metrics.prefillSeconds && metrics.prefillSeconds > 0)
    #expect(metrics.finish == (metrics.completionTokens == 12 ? .length : .endOfText))
  }

  @Test func `a prompt read in two parts gives the same answer as read at once`() async throws {
    let prompt = try model.encode(.raw("The map was in the chest, and the chest was in the cart."))
    let whole = try model.makeSession(capacity: 100)
    try await whole.prefill(prompt)
    let parts = try model.makeSession(capacity: 100)
    try await parts.prefill(Array(prompt[..<20]))
    try await parts.prefill(Array(prompt[20...]))
    #expect(try await answer(parts) == answer(whole))
  }

  /// Short factors and long ones do not mix; transformers begins anew there too.
  @Test func `a session that outgrows LongRoPE's original length is read again`() async throws {
    let model = try TinyModel.makeLongRoPE(
      original: 40, in: directory, threads: 2)
    let prompt = try model.encode(.raw("The map was in the chest, and the chest was in the cart."))
    let whole = try model.makeSession(capacity: 100)
    try await whole.prefill(prompt)
    let parts = try model.makeSession(capacity: 100)
    try await parts.prefill(Array(prompt[..<20]))
    #expect(parts.metrics.promptTokens == 20)
    try await parts.prefill(Array(prompt[20...]))
    #expect(parts.metrics.promptTokens == prompt.count)
    // Beyond the length nothing is read again.
    let more = try model.encode(.raw(" Why?"))
    try await parts.prefill(more)
    #expect(parts.metrics.promptTokens == more.count)
    try await whole.prefill(more)
    #expect(try await answer(parts) == answer(whole))
  }

  @Test func `a follow-up is read behind the answer, the last token included`() async throws {
    let prompt = try model.encode(.raw("abc"))
    let session = try model.makeSession(capacity: 100)
    try await session.prefill(prompt)
    let first = try await answer(session, tokens: 3)
    let followUp = try model.encode(.raw("def"))
    try await session.prefill(followUp)
    // One token had been given out and not read.
    #expect(session.metrics.promptTokens == followUp.count + 1)
    let second = try await answer(session, tokens: 3)

    // The same text in one go; bytes that are no UTF-8 would not survive the way over text.
    if model.tokenizer.encode(first, addTemplate: false).count == 3, !first.contains("\u{FFFD}") {
      let whole = try model.makeSession(capacity: 100)
      try await whole.prefill(prompt + model.tokenizer.encode(first) + followUp)
      #expect(try await answer(whole, tokens: 3) == second)
    }
  }

  @Test func `two sessions at once do not disturb each other`() async throws {
    let prompts = ["The tide had turned.", "Nobody at the mill could say why."]
    var alone: [String] = []
    for prompt in prompts {
      let session = try model.makeSession(capacity: 100)
      try await session.prefill(model.encode(.raw(prompt)))
      alone.append(try await answer(session))
    }
    let together = try await withThrowingTaskGroup(of: (Int, String).self) { group in
      for (number, prompt) in prompts.enumerated() {
        group.addTask { [model] in
          let session = try model.makeSession(capacity: 100)
          try await session.prefill(model.encode(.raw(prompt)))
          var text = ""
          for try await piece in session.generate(GenerationOptions(maximumTokens: 12)) {
            text += piece
          }
          return (number, text)
        }
      }
      return try await group.reduce(into: ["", ""]) { $0[$1.0] = $1.1 }
    }
    #expect(together == alone)
  }

  @Test func `a cancelled task ends the prefill`() async throws {
    let ids = Array(repeating: Int32(97), count: 2000)
    let session = try model.makeSession(capacity: 2040)
    let task = Task { try await session.prefill(ids) }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func `a prompt that fills the context is read, and leads to one token`() async throws {
    let session = try model.makeSession(capacity: TinyCheckpoint.context + 1)
    try await session.prefill(Array(repeating: 97, count: TinyCheckpoint.context))
    _ = try await answer(session)
    #expect(session.metrics.promptTokens == TinyCheckpoint.context)
    #expect(session.metrics.completionTokens <= 1)
    let longer = try model.makeSession(capacity: TinyCheckpoint.context + 1)
    await #expect(
      throws: LanguageModelError.promptTooLong(
        tokens: TinyCheckpoint.context + 1, contextLength: TinyCheckpoint.context)
    ) { try await longer.prefill(Array(repeating: 97, count: TinyCheckpoint.context + 1)) }
  }

  @Test func `what cannot be read is an error that says both numbers`() async throws {
    let long = Array(repeating: Int32(97), count: TinyCheckpoint.context)
    #expect(
      throws: LanguageModelError.promptTooLong(
        tokens: TinyCheckpoint.context, contextLength: TinyCheckpoint.context)
    ) { try model.encode(.tokens(long)) }
    #expect(throws: LanguageModelError.emptyPrompt) { try model.encode(.raw("")) }
    #expect(throws: LanguageModelError.emptyPrompt) { try model.encode(.user("")) }
    let session = try model.makeSession(capacity: 10)
    await #expect(throws: LanguageModelError.sessionFull(tokens: 11, capacity: 10)) {
      try await session.prefill(Array(repeating: 97, count: 11))
    }
    await #expect(throws: LanguageModelError.emptyPrompt) { try await session.prefill([]) }
    await #expect(throws: LanguageModelError.nothingPrefilled) { try await answer(session) }
  }

  @Test func `a special token inside a user's text stays text`() throws {
    let ids = try model.encode(.user("a<|im_end|>b"))
    #expect(ids.filter { $0 == 258 }.count == 1 && ids.filter { $0 == 257 }.count == 2)
    #expect(try model.encode(.raw("a<|im_end|>b")).filter { $0 == 258 }.count == 1)
    #expect(try model.encode(.raw("ab")).count == 2)
  }

  @Test func `a follow-up in chat form ends the answer's turn and opens the next`() throws {
    let ids = try model.encodeFollowUp("b<|im_end|>")
    #expect(ids.first == 258)
    #expect(
      model.tokenizer.decode(ids, skipSpecialTokens: false)
        == "<|im_end|>\n<|im_start|>user\nb<|im_end|><|im_end|>\n<|im_start|>assistant\n")
    #expect(ids.filter { $0 == 258 }.count == 2)
  }

  @Test func `scores are log-probabilities of the next token, and argmax is the greedy answer`()
    async throws
  {
    let prompt = try model.encode(.raw("some text"))
    let score = try await model.score(prompt)
    #expect(score.logProbabilities.count == prompt.count - 1)
    #expect(score.mostLikely.count == prompt.count)
    #expect(score.logProbabilities.allSatisfy { $0 < 0 && $0.isFinite })
    let session = try model.makeSession(capacity: 100)
    try await session.prefill(prompt)
    let next = try await answer(session, tokens: 1)
    if let last = score.mostLikely.last, last < 128 {
      #expect(next == model.tokenizer.decode([last]))
    }
  }

  /// The progress callback runs on the thread that holds the session.
  @Test func `a session's properties can be asked while a prompt is read`() async throws {
    let prompt = try model.encode(.raw("The map was in the chest."))
    let session = try model.makeSession(capacity: 200)
    try await session.prefill(prompt)
    let text = try await answer(session, tokens: 2)
    let (tokens, metrics) = (session.tokens, session.metrics)
    #expect(tokens.count == prompt.count + metrics.completionTokens)
    try await session.prefill(prompt) { _ in
      #expect(session.tokens == tokens)
      #expect(session.metrics.completionTokens == metrics.completionTokens)
      #expect(session.nextLogits == nil && session.memoryPlan == nil)
    }
    #expect(session.tokens.count == tokens.count + prompt.count)
    #expect(session.nextLogits?.count == TinyCheckpoint.vocabulary)
    #expect(session.metrics.completionTokens == 0 && text.utf8.count <= 8)
  }
}
