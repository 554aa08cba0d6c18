import Compute
import Transformers

/// Computing: one turn gives every running answer a token and reads blocks of a prompt.
extension Engine {
  /// Prompts whose reading has begun and not ended: each holds the hidden states of a chunk.
  private static let mostReadings = 4

  func takeTurn() {
    decodeRound()
    readBlocks()
  }

  private func decodeRound() {
    let answering = running.filter { $0.answer != nil }
    guard !answering.isEmpty else { return }
    let start = ContinuousClock.now
    for sequence in answering where !sequence.submission.cancellation.isSet {
      do {
        try decodeToken(of: sequence)
      } catch {
        end(sequence, with: error, reason: "error")
      }
    }
    metrics.decodeRounds += 1
    metrics.decodeSeconds += (ContinuousClock.now - start).inSeconds
  }

  private func decodeToken(of sequence: RunningSequence) throws {
    guard var answer = sequence.answer else { return }
    // Held once, so that nothing is copied.
    sequence.answer = nil
    defer { sequence.answer = answer }
    let request = sequence.submission.request
    var logProbabilities: LogProbabilities?
    var examine: ((inout [Float]) throws -> Void)?
    let stopIDs = model.stopIDs
    if request.logProbabilities != nil || answer.constraint != nil || request.ignoresEndOfText {
      var constraint = answer.constraint
      answer.constraint = nil
      let remaining = sequence.maximumTokens - answer.generator.count
      examine = { logits in
        if request.logProbabilities != nil { logProbabilities = LogProbabilities(logits: logits) }
        if request.ignoresEndOfText { for id in stopIDs { logits[Int(id)] = -.infinity } }
        try constraint?.restrict(&logits, stopIDs: stopIDs, remaining: remaining)
      }
      let id = try answer.generator.next(examining: examine)
      if let id { try constraint?.accept(id) }
      answer.constraint = constraint
      try take(id, of: sequence, &answer, logProbabilities)
    } else {
      try take(try answer.generator.next(), of: sequence, &answer, nil)
    }
  }

  /// Tells the token, or the end.
  private func take(
    _ id: Int32?, of sequence: RunningSequence, _ answer: inout RunningSequence.Answer,
    _ logProbabilities: LogProbabilities?
  ) throws {
    let request = sequence.submission.request
    let now = ContinuousClock.now
    guard let id else {
      let text = answer.filter.push(answer.decoder.finish())
      return complete(sequence, answer, text: text)
    }
    if answer.firstToken == nil {
      answer.firstToken = now
      metrics.timeToFirstToken.add((now - sequence.submission.time).inSeconds)
    } else {
      metrics.longestStall = max(metrics.longestStall, (now - answer.lastToken).inSeconds)
    }
    answer.lastToken = now
    metrics.completionTokens += 1
    metrics.decodedTokens += 1
    let text = answer.filter.push(answer.decoder.push(id))
    var probability: TokenLogProbability?
    if let logProbabilities, let count = request.logProbabilities {
      probability = TokenLogProbability(
        value: logProbabilities.value(of: id), likeliest: logProbabilities.likeliest(count))
    }
    sequence.submission.events.yield(
      .token(AnswerToken(id: id, text: text, logProbability: probability)))
    if answer.filter.found != nil { complete(sequence, answer, text: "") }
  }

  private func complete(
    _ sequence: RunningSequence, _ answer: RunningSequence.Answer, text: String
  ) {
    var answer = answer
    let rest = answer.filter.found == nil ? text + answer.filter.finish() : text
    let finish: GenerationMetrics.Finish
    if let stop = answer.filter.found {
      finish = .stopString(stop)
    } else {
      switch answer.generator.finishReason {
      case .stop: finish = .endOfText
      case .contextFull: finish = .contextFull
      // A text that had to be complete by its last token is.
      case .length, nil: finish = answer.constraint?.isComplete == true ? .endOfText : .length
      }
    }
    let submission = sequence.submission
    submission.events.yield(
      .finished(
        AnswerSummary(
          finish: finish, text: rest, promptTokens: sequence.prompt.count,
          cachedTokens: sequence.cachedTokens, completionTokens: answer.generator.count,
          queueSeconds: (sequence.start - submission.time).inSeconds,
          prefillSeconds: answer.prefillSeconds,
          timeToFirstToken: answer.firstToken.map { ($0 - submission.time).inSeconds },
          decodeSeconds: answer.firstToken.map { (answer.lastToken - $0).inSeconds } ?? 0,
          prefill: answer.report, notices: answer.generator.notices)))
    sequence.answer = answer
    keep(sequence)
    self.finish(submission, with: nil, reason: Self.name(of: finish))
  }

  private static func name(of finish: GenerationMetrics.Finish) -> String {
    switch finish {
    case .endOfText, .stopString: "stop"
    case .length, .contextFull: "length"
    }
  }

  /// Reads blocks until the answers that run have waited long enough, or until something comes.
  private func readBlocks() {
    let readings = running.filter { $0.answer == nil }
    let begun = readings.filter { $0.run != nil }
    let candidates = begun.count < Self.mostReadings ? readings : begun
    guard let index = order.next(remaining: candidates.map(\.remaining)) else { return }
    let sequence = candidates[index]
    let hasAnswers = running.contains { $0.answer != nil }
    let start = ContinuousClock.now
    let deadline = start + .seconds(options.stallSeconds)
    do {
      while sequence.answer == nil, !sequence.submission.cancellation.isSet {
        try readBlock(of: sequence, waits: hasAnswers)
        if ContinuousClock.now >= deadline || inbox.hasNews { break }
      }
    } catch {
      end(sequence, with: error, reason: error is CancellationError ? "cancelled" : "error")
    }
    let seconds = (ContinuousClock.now - start).inSeconds
    metrics.prefillSeconds += seconds
    sequence.prefillSeconds += seconds
  }

  /// - Parameter waits: Whether the block is to be finished, and not only begun, before this returns.
  private func readBlock(of sequence: RunningSequence, waits: Bool) throws {
    let backend = model.transformer.backend
    let run = try sequence.run ?? makeRun(of: sequence)
    sequence.run = run
    let progress = try run.advance()
    if case .chunk(let positions, let hidden) = progress, positions == run.chunks.last {
      let logits = try model.transformer.makeLogits(
        of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      // What is left is the end of the run, which computes nothing.
      _ = try run.advance()
      try beginAnswer(of: sequence, logits: logits, report: run.report)
      return
    }
    if waits { try backend.finish() }
    sequence.tellProgress()
  }

  private func makeRun(of sequence: RunningSequence) throws -> any PromptReading {
    let cancellation = sequence.submission.cancellation
    let cache = sequence.sequence.cache
    return try model.transformer.makeReading(
      Array(sequence.prompt[cache.count...]), cache: cache,
      options: try prefillOptions(of: sequence, isCancelled: { cancellation.isSet }))
  }

  private func prefillOptions(
    of sequence: RunningSequence, isCancelled: @escaping @Sendable () -> Bool
  ) throws -> PrefillOptions {
    PrefillOptions(
      planner: try model.planner(for: sequence.attention), chunk: options.session.chunk,
      measureRecall: options.session.measuresRecall,
      monitor: sequence.submission.request.monitor ?? options.session.monitor,
      lastLayerLastRowOnly: true, isCancelled: isCancelled)
  }

  private func beginAnswer(
    of sequence: RunningSequence, logits: Tensor, report: PrefillReport
  ) throws {
    let request = sequence.submission.request
    let cancellation = sequence.submission.cancellation
    let now = ContinuousClock.now
    sequence.run = nil
    sequence.answer = RunningSequence.Answer(
      generator: TokenGenerator(
        model: model.transformer, cache: sequence.sequence.cache, logits: logits,
        prompt: sequence.prompt, sampler: try Sampler(request.sampling ?? model.defaultSampling),
        stopIDs: model.stopIDs, maximumTokens: sequence.maximumTokens,
        rereading: try prefillOptions(of: sequence, isCancelled: { cancellation.isSet })),
      decoder: model.tokenizer.makeStreamingDecoder(),
      filter: StopStringFilter(request.stopStrings), constraint: request.constraint,
      report: report, prefillSeconds: (now - sequence.start).inSeconds, lastToken: now)
    sequence.tellProgress(isNeeded: true)
  }
}
