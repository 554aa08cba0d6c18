import MInference
import TemporaryCheckpoints
import Testing

/// Answers that are decoded together.
@Suite struct EngineBatchTests {
  let directory: TemporaryDirectory
  let model: LanguageModel

  init() throws { (directory, model) = try TinyModel.make() }

  private var asker: Asker { Asker(model: model) }

  /// Lets an answer have digits alone, and end after `count` of them.
  private struct Digits: AnswerConstraint {
    let count: Int
    private var written = 0

    init(_ count: Int) { self.count = count }

    var isComplete: Bool { written >= count }

    mutating func restrict(
      _ logits: inout [Float], stopIDs: Set<Int32>, remaining: Int
    ) throws {
      for id in logits.indices
      where !(isComplete ? stopIDs.contains(Int32(id)) : (48...57).contains(id)) {
        logits[id] = -.infinity
      }
    }

    mutating func accept(_ id: Int32) throws { written += 1 }
  }

  @Test func `answers of every kind, decoded together, are those that each gets alone`()
    async throws
  {
    let engine = try Engine(model: model, options: EngineOptions(stallSeconds: 0.001))
    let asker = asker
    let samplings = [
      SamplingOptions(temperature: 0), SamplingOptions(temperature: 0),
      SamplingOptions(temperature: 1.2, seed: 8), SamplingOptions(temperature: 1.2, seed: 9),
      SamplingOptions(temperature: 0, repetitionPenalty: 1.3),
      SamplingOptions(temperature: 0.8, topK: 30, seed: 10),
    ]
    let prompts = try samplings.indices.map {
      try model.encode(.raw(asker.text($0, length: 100 + 150 * $0)))
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, sampling) in samplings.enumerated() {
        group.addTask {
          let request = AnswerRequest(
            prompt: prompts[number], sampling: sampling, maximumTokens: 30 + 5 * number,
            logProbabilities: number == 1 ? 2 : nil)
          let found = try await asker.answer(engine, request)
          let expected = try asker.single(
            prompts[number], tokens: 30 + 5 * number, sampling: sampling)
          #expect(found.text == expected, "request \(number)")
        }
      }
      for number in 0..<3 {
        group.addTask {
          let request = AnswerRequest(
            prompt: prompts[number], maximumTokens: 40, constraint: Digits(11 + number))
          let found = try await asker.answer(engine, request)
          #expect(found.text.utf8.count == 11 + number && found.finish == .endOfText)
          #expect(found.text.utf8.allSatisfy { (48...57).contains($0) })
        }
      }
      try await group.waitForAll()
    }
    await engine.stop()
    let metrics = engine.currentMetrics
    // Several a round, or nothing was decoded together.
    #expect(metrics.decodedTokens > 2 * metrics.decodeRounds)
  }

  @Test func `one that is cancelled in the middle leaves the others' answers as they are`()
    async throws
  {
    let engine = try Engine(model: model)
    let asker = asker
    let prompts = try (0..<4).map { try model.encode(.raw(asker.text($0, length: 120))) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, prompt) in prompts.enumerated() {
        group.addTask {
          var request = AnswerRequest(prompt: prompt, maximumTokens: number == 2 ? 1500 : 60)
          request.ignoresEndOfText = number == 2
          if number == 2 {
            var count = 0
            for try await event in try engine.submit(request) {
              if case .token = event { count += 1 }
              if count == 20 { return }
            }
            Issue.record("the answer was too short")
          } else {
            let found = try await asker.answer(engine, request)
            #expect(try found.text == asker.single(prompt, tokens: 60), "request \(number)")
          }
        }
      }
      try await group.waitForAll()
    }
    await engine.stop()
    #expect(engine.currentMetrics.finished["cancelled"] == 1)
    #expect(engine.currentMetrics.completionTokens < 1500)
  }

  @Test func `an answer that outgrows LongRoPE's original length is read again among others`()
    async throws
  {
    let model = try TinyModel.makeLongRoPE(
      original: 140, in: directory)
    let asker = Asker(model: model)
    var options = EngineOptions(stallSeconds: 0.001)
    options.session.attention = AttentionOptions(mode: .dense)
    let engine = try Engine(model: model, options: options)
    let prompts = try [130, 20, 125].map { try model.encode(.raw(asker.text(3, length: $0))) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for prompt in prompts {
        group.addTask {
          var request = AnswerRequest(prompt: prompt, maximumTokens: 40)
          request.ignoresEndOfText = true
          let found = try await asker.answer(engine, request)
          #expect(try found.text == asker.single(prompt, tokens: 40, stopIDs: [], isDense: true))
        }
      }
      try await group.waitForAll()
    }
    await engine.stop()
  }
}
