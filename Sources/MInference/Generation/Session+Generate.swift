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
    stream(options) { event in
      let text =
        switch event {
        case .progress: ""
        case .token(let token): token.text
        case .finished(let summary): summary.text
        }
      return text.isEmpty ? [] : [text]
    }
  }

  /// The same, with what the model thinks told from its answer where it writes both in channels (gpt-oss).
  ///
  /// Stop strings are looked for in the answer alone then. What other models write is text as a whole.
  ///
  /// - Parameter inChatForm: Whether the prompt was put in the model's chat form. Where it was not there are no
  ///   channels.
  public func generateParts(
    _ options: GenerationOptions = GenerationOptions(), inChatForm: Bool = true
  ) -> AsyncThrowingStream<AnswerPart, any Error> {
    let markers = inChatForm ? model.harmony : nil
    let parser = Mutex(
      markers.map { OutputParser($0, readsToolCalls: false, makeID: { "" }) }
        ?? OutputParser(
          beginsInReasoning: false, readsToolCalls: false, readsReasoning: false, makeID: { "" }))
    return stream(options, harmony: markers) { event in
      parser.withLock { $0.take(event) }.compactMap { piece in
        switch piece {
        case .text(let text, _): .text(text)
        case .reasoning(let text): .reasoning(text)
        case .progress, .toolCall, .toolArguments, .end: nil
        }
      }
    }
  }

  /// - Parameter pieces: What an event of the answer comes to. Called in order, by one thread at a time.
  private func stream<Piece: Sendable>(
    _ options: GenerationOptions, harmony: HarmonyMarkers? = nil,
    _ pieces: @escaping @Sendable (AnswerEvent) -> [Piece]
  ) -> AsyncThrowingStream<Piece, any Error> {
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
          try await answer(options, harmony, cancellation) { event in
            for piece in pieces(event) { continuation.yield(piece) }
          }
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
    _ options: GenerationOptions, _ harmony: HarmonyMarkers?, _ cancellation: CancellationFlag,
    tell: @escaping @Sendable (AnswerEvent) -> Void
  ) async throws {
    guard sequence.logits != nil else { throw LanguageModelError.nothingPrefilled }
    var request = AnswerRequest(
      prompt: sequence.history, sampling: options.sampling, maximumTokens: options.maximumTokens,
      stopStrings: options.stopStrings)
    request.attention = self.options.attention
    if let harmony { request.expectHarmony(harmony, model.tokenizer) }
    let start = ContinuousClock.now
    let firstToken = Mutex<ContinuousClock.Instant?>(nil)
    let summary = try await engine.answer(
      request, for: try work(.answer, options.progress, cancellation), cancellation: cancellation
    ) { event in
      guard case .token = event else { return }
      firstToken.withLock { $0 = $0 ?? .now }
      tell(event)
    }
    let end = ContinuousClock.now
    tell(.finished(summary))

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

/// A stretch of an answer.
public enum AnswerPart: Sendable, Equatable {
  case text(String)
  /// What the model thinks before it answers.
  case reasoning(String)
}
