import Compute
import Synchronization
import Transformers

extension Session {
  /// Continues what was prefilled, and yields the answer's text piece by piece.
  ///
  /// Special tokens are left out, incomplete characters and what may become a stop string are held
  /// back. When the consumer stops listening, computing stops within one token. Pieces wait in memory
  /// for a consumer that is behind. Figures are in ``metrics`` once the stream has ended. The answer
  /// stays in the session: the next prefill continues behind it.
  public func generate(
    _ options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { continuation in
      let cancellation = CancellationFlag()
      let turn = turns.reserve()
      let waiting = Task {
        do {
          try await turns.wait(for: turn)
        } catch {
          return continuation.finish(throwing: error)
        }
        do {
          try WorkerThread.start {
            let outcome = Result {
              try self.withState { state in
                try self.generate(options, state: &state, cancellation: cancellation) {
                  continuation.yield($0)
                }
              }
            }
            self.turns.release(turn)
            switch outcome {
            case .success: continuation.finish()
            case .failure(let error): continuation.finish(throwing: error)
            }
          }
        } catch {
          turns.release(turn)
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { reason in
        guard case .cancelled = reason else { return }
        cancellation.set()
        waiting.cancel()
      }
    }
  }

  private func generate(
    _ options: GenerationOptions, state: inout State, cancellation: CancellationFlag,
    yield: (String) -> Void
  ) throws {
    guard let cache = state.cache, let prefill = state.prefill else {
      throw LanguageModelError.nothingPrefilled
    }
    let sampling = options.sampling ?? model.defaultSampling
    var generator = TokenGenerator(
      model: model.transformer, cache: cache, logits: prefill.deviceLogits,
      prompt: state.history, sampler: try Sampler(sampling), stopIDs: model.stopIDs,
      maximumTokens: options.maximumTokens,
      rereading: try prefillOptions(progress: options.progress, cancellation: cancellation))
    var text = model.tokenizer.makeStreamingDecoder()
    var filter = StopStringFilter(options.stopStrings)
    func emit(_ piece: String) {
      if !piece.isEmpty { yield(piece) }
    }

    let start = ContinuousClock.now
    var firstToken = start
    // What the last token led to is not known before it is read.
    state.prefill = nil
    while let id = try generator.next() {
      if generator.count == 1 { firstToken = .now }
      state.history.append(id)
      state.unread = id
      emit(filter.push(text.push(id)))
      if filter.found != nil { break }
      if cancellation.isSet { throw CancellationError() }
    }
    let end = ContinuousClock.now
    if generator.count == 0 { firstToken = end }
    if filter.found == nil {
      emit(filter.push(text.finish()))
      emit(filter.finish())
    }

    try model.verifyWeights()

    // The last token is in the cache only if the one after it was asked for.
    let answered = generator.count
    let isLastRead: Bool
    if case .stop = generator.finishReason { isLastRead = true } else { isLastRead = false }
    if isLastRead { state.unread = nil }
    state.metrics.completionTokens = answered
    state.metrics.timeToFirstToken += (firstToken - start).inSeconds
    state.metrics.decodedTokens = max(0, isLastRead ? answered : answered - 1)
    state.metrics.decodeSeconds = (end - firstToken).inSeconds
    state.metrics.notices = generator.notices
    state.metrics.finish = finish(generator.finishReason, filter)
  }

  private func finish(
    _ reason: TokenGenerator.FinishReason?, _ filter: StopStringFilter
  ) -> GenerationMetrics.Finish {
    if let stop = filter.found { return .stopString(stop) }
    switch reason {
    case .stop: return .endOfText
    case .contextFull: return .contextFull
    case .length, nil: return .length
    }
  }
}
