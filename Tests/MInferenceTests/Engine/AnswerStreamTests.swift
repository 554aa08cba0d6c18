import MInference
import TemporaryCheckpoints
import Testing

@Suite struct AnswerStreamTests {
  @Test func `an event that waits for its reader takes a few dozen bytes`() {
    #expect(AnswerStream.bytesOfEvent <= 48)
  }

  @Test(.timeLimit(.minutes(1)))
  func `an answer that nobody reads ends, and comes whole and in order when it is read`()
    async throws
  {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    let model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    let asker = Asker(model: model)
    let engine = try Engine(model: model)
    let prompt = try model.encode(.raw(asker.text(3)))
    var request = AnswerRequest(prompt: prompt, maximumTokens: 300)
    request.ignoresEndOfText = true
    let stream = try engine.submit(request)
    while engine.currentMetrics.finished["length"] != 1 {
      try await Task.sleep(for: .milliseconds(5))
    }
    var text = ""
    var tokens = 0
    var isFinished = false
    for try await event in stream {
      #expect(!isFinished)
      switch event {
      case .progress: #expect(tokens == 0)
      case .token(let token):
        tokens += 1
        text += token.text
      case .finished(let summary):
        text += summary.text
        isFinished = true
        #expect(summary.completionTokens == 300)
      }
    }
    #expect(isFinished && tokens == 300)
    // The same request again, read as it is answered.
    #expect(try await asker.answer(engine, request).text == text)
    await engine.stop()
  }
}
