import Compute
import Synchronization
import Transformers

extension Session {
  /// Continues what was prefilled, and yields the answer's text piece by piece.
  ///
  /// Special tokens are left out, incomplete characters and what may become a stop string are held
  /// back. When the consumer stops listening, computing stops within one token. Pieces wait in memory
  /// for a consumer that is behind, 16 bytes for each and its text beyond 15 bytes: at most as many as
  /// ``GenerationOptions/maximumTokens``. Figures are in ``metrics`` once the stream has ended. The answer
  /// stays in the session: the next prefill continues behind it.
  public func generate(
    _ options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { continuation in
      let cancellation = CancellationFlag()
      let turn = turns.reserve()
      let answering = Task {
        do {
          try await turns.wait(for: turn)
        } catch {
          return continuation.finish(throwing: error)
        }
        do {
          try await answer(options, cancellation) { continuation.yield($0) }
          turns.release(turn)
          continuation.finish()
        } catch {
          show()
          turns.release(turn)
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { [engine] reason in
        guard case .cancelled = reason else { return }
        cancellation.set()
        // Who waits for a turn leaves the queue; who has one is ended by the flag.
        answering.cancel()
        engine.wake()
      }
    }
  }

  private func answer(
    _ options: GenerationOptions, _ cancellation: CancellationFlag,
    yield: @escaping @Sendable (String) -> Void
  ) async throws {
    guard sequence.logits != nil else { throw LanguageModelError.nothingPrefilled }
    var request = AnswerRequest(
      prompt: sequence.history, sampling: options.sampling, maximumTokens: options.maximumTokens,
      stopStrings: options.stopStrings)
    request.attention = self.options.attention
    let start = ContinuousClock.now
    let firstToken = Mutex<ContinuousClock.Instant?>(nil)
    let summary = try await engine.answer(
      request, for: try work(.answer, options.progress, cancellation), cancellation: cancellation
    ) { event in
      guard case .token(let token) = event else { return }
      firstToken.withLock { $0 = $0 ?? .now }
      if !token.text.isEmpty { yield(token.text) }
    }
    let end = ContinuousClock.now
    if !summary.text.isEmpty { yield(summary.text) }

    let first = firstToken.withLock { $0 } ?? end
    let answered = summary.completionTokens
    show { metrics in
      metrics.completionTokens = answered
      metrics.timeToFirstToken += (first - start).inSeconds
      // The last token is in the cache only if the one after it was asked for.
      metrics.decodedTokens = summary.finish == .endOfText ? answered : max(0, answered - 1)
      metrics.decodeSeconds = (end - first).inSeconds
      metrics.notices = summary.notices
      metrics.finish = summary.finish
    }
  }
}
