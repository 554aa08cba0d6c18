import Compute
import Transformers

/// Computing: one turn gives every running answer a token and reads blocks of a prompt.
extension Engine {
  /// Prompts whose reading has begun and not ended: each holds the hidden states of a chunk.
  private static let mostReadings = 4
  /// Seconds for which a turn waits for the disk while nothing else is to be done.
  private static let longestWaitForDisk = 0.02

  /// - Parameter start: When the time began for which answers may wait.
  func takeTurn(since start: ContinuousClock.Instant) {
    let other = ContinuousClock.now - start
    decodeRound()
    readBlocks(spent: other)
  }

  /// Gives every running answer a token: those that wait for a token to be decoded together.
  private func decodeRound() {
    let answering = running.filter { !$0.isReading && !$0.submission.cancellation.isSet }
    guard !answering.isEmpty else { return }
    let start = ContinuousClock.now
    var batch: [(sequence: RunningSequence, member: DecodingBatch.Member)] = []
    for sequence in answering {
      guard let answer = sequence.answer else { continue }
      let examine = examination(of: sequence, answer)
      switch answer.generator.need() {
      case nil: take(.success(nil), of: sequence, answer)
      case .nothing:
        take(
          Result { try answer.generator.choose(examining: examine) }, of: sequence, answer)
      case .decoding:
        batch.append((sequence, DecodingBatch.Member(answer.generator, examining: examine)))
      case .reading(let ids):
        // Its keys and values are gone.
        if let storage = sequence.storage { prefixes.forget(storage) }
        sequence.read(again: ids)
      }
    }
    let results = decoding.next(batch.map(\.member))
    for ((sequence, _), result) in zip(batch, results) {
      if let answer = sequence.answer { take(result, of: sequence, answer) }
    }
    metrics.decodeRounds += 1
    metrics.decodeSeconds += (ContinuousClock.now - start).inSeconds
  }

  /// What is done with the logits of a token before it is chosen; nil where nothing is.
  private func examination(
    of sequence: RunningSequence, _ answer: RunningSequence.Answer
  ) -> ((inout [Float]) throws -> Void)? {
    let request = sequence.submission.request
    guard request.logProbabilities != nil || answer.constraint != nil else { return nil }
    let stopIDs = model.stopIDs
    let remaining = sequence.maximumTokens - answer.generator.count
    return { logits in
      if request.logProbabilities != nil {
        answer.logProbabilities = LogProbabilities(logits: logits)
      }
      try answer.constraint?.restrict(&logits, stopIDs: stopIDs, remaining: remaining)
    }
  }

  /// Tells a token, or the end.
  private func take(
    _ result: Result<Int32?, any Error>, of sequence: RunningSequence,
    _ answer: RunningSequence.Answer
  ) {
    do {
      guard let id = try result.get() else {
        return try complete(sequence, answer, text: answer.finishDecoding())
      }
      try answer.constraint?.accept(id)
      tell(id, of: sequence, answer)
      if answer.filter.found != nil {
        try complete(sequence, answer, text: "")
      } else if answer.generator.count >= sequence.maximumTokens {
        _ = answer.generator.need()
        try complete(sequence, answer, text: answer.finishDecoding())
      }
    } catch {
      end(sequence, with: error, reason: "error")
    }
  }

  private func tell(
    _ id: Int32, of sequence: RunningSequence, _ answer: RunningSequence.Answer
  ) {
    let request = sequence.submission.request
    let now = ContinuousClock.now
    if answer.firstToken == nil {
      answer.firstToken = now
      metrics.timeToFirstToken.add((now - sequence.submission.time).inSeconds)
    } else {
      metrics.longestStall = max(metrics.longestStall, (now - answer.lastToken).inSeconds)
    }
    answer.lastToken = now
    metrics.completionTokens += 1
    metrics.decodedTokens += 1
    let text = answer.push(id)
    var probability: TokenLogProbability?
    if let count = request.logProbabilities, let logProbabilities = answer.logProbabilities {
      probability = TokenLogProbability(
        value: logProbabilities.value(of: id), likeliest: logProbabilities.likeliest(count))
    }
    answer.logProbabilities = nil
    sequence.submission.sink.tell(
      .token(AnswerToken(id: id, text: text, logProbability: probability)))
  }

  private func complete(
    _ sequence: RunningSequence, _ answer: RunningSequence.Answer, text: String
  ) throws {
    try model.verifyWeights()
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
    let summary = AnswerSummary(
      finish: finish, text: rest, promptTokens: sequence.prompt.count,
      cachedTokens: sequence.cachedTokens, completionTokens: answer.generator.count,
      queueSeconds: (sequence.start - submission.time).inSeconds,
      prefillSeconds: answer.prefillSeconds,
      timeToFirstToken: answer.firstToken.map { ($0 - submission.time).inSeconds },
      decodeSeconds: answer.firstToken.map { (ContinuousClock.now - $0).inSeconds } ?? 0,
      prefill: answer.report, notices: answer.generator.notices)
    keep(sequence)
    self.finish(submission, .success(summary), reason: Self.name(of: finish))
  }

  private static func name(of finish: GenerationMetrics.Finish) -> String {
    switch finish {
    case .endOfText, .stopString: "stop"
    case .length, .contextFull: "length"
    }
  }
}

extension Engine {
  /// Reads blocks until the answers that run have waited long enough, or until something comes.
  ///
  /// While answers run, no block is begun that would end too late if it took as long as the longest before
  /// it; one is read in any case.
  ///
  /// - Parameter time: What else the turn took.
  private func readBlocks(spent time: Duration) {
    let readings = running.filter(\.isReading)
    let begun = readings.filter { $0.run != nil }
    var candidates =
      begun.count < Self.mostReadings
      ? readings : readings.filter { $0.run != nil || $0.restoring != nil }
    // Nobody waits for the disk while there is something to compute.
    let ready = candidates.filter { $0.restoring?.isReady ?? true }
    if !ready.isEmpty { candidates = ready }
    guard let index = order.next(remaining: candidates.map(\.remaining)) else { return }
    let sequence = candidates[index]
    let hasAnswers = running.contains { !$0.isReading }
    let start = ContinuousClock.now
    let deadline = start + .seconds(options.stallSeconds) - time
    sequence.turnStart = start
    do {
      var time = start
      while sequence.isReading, !sequence.isRead, !sequence.submission.cancellation.isSet {
        if let restoring = sequence.restoring {
          guard try restoreBlock(of: sequence, restoring, hasAnswers: hasAnswers),
            ContinuousClock.now < deadline, !inbox.hasNews
          else { break }
          time = .now
          continue
        }
        try readBlock(of: sequence, waits: hasAnswers)
        let now = ContinuousClock.now
        sequence.blockSeconds = max(sequence.blockSeconds, (now - time).inSeconds)
        time = now
        let expected = hasAnswers ? sequence.blockSeconds : 0
        if now + .seconds(expected) >= deadline || inbox.hasNews { break }
      }
    } catch {
      end(sequence, with: error, reason: error is CancellationError ? "cancelled" : "error")
    }
    sequence.prefillSeconds += (ContinuousClock.now - start).inSeconds
  }

  /// Takes a block of what is on disk of a prompt.
  ///
  /// - Returns: Whether the turn goes on.
  private func restoreBlock(
    of sequence: RunningSequence, _ restoring: PrefixRestoring, hasAnswers: Bool
  ) throws -> Bool {
    switch try restoring.advance(waiting: hasAnswers ? 0 : Self.longestWaitForDisk) {
    case .advanced: return true
    case .waiting: return false
    case .damaged(let entry): directory?.remove(entry)
    case .slow(let isDead): if isDead { noteDiskFailure("it brings nothing") }
    case .finished: break
    }
    metrics.diskReadBytes += restoring.byteCount
    metrics.diskReadSeconds += restoring.seconds
    let restored = sequence.endRestoring()
    if restored > 0 { metrics.diskHits += 1 }
    metrics.cachedTokens += restored
    sequence.tellProgress(isNeeded: true)
    // A block that is computed may take all the time that answers wait.
    return !hasAnswers
  }

  /// - Parameter waits: Whether the block is to be finished, and not only begun, before this returns.
  private func readBlock(of sequence: RunningSequence, waits: Bool) throws {
    let transformer = model.transformer
    let start = ContinuousClock.now
    let run = try sequence.run ?? makeRun(of: sequence)
    sequence.run = run
    let tokensBefore = run.progress.tokensDone
    var isComplete = false
    defer {
      if sequence.observer == nil {
        let tokens = isComplete ? run.progress.tokens : run.progress.tokensDone
        metrics.computedTokens += tokens - tokensBefore
        metrics.prefillSeconds += (ContinuousClock.now - start).inSeconds
      }
    }
    let progress = try run.advance()
    guard case .chunk(let positions, let hidden) = progress, positions == run.chunks.last else {
      if waits { try transformer.backend.finish() }
      return sequence.tellProgress()
    }
    isComplete = true
    if let observer = sequence.observer {
      _ = try run.advance()
      try model.verifyWeights()
      return complete(reading: sequence, run.report, observer: observer)
    }
    let (logits, values) = try run.timed {
      let logits = try transformer.makeLogits(
        of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      // A session shows them.
      return (logits, sequence.storage == nil ? try transformer.backend.read(logits) : [])
    }
    // What is left is the end of the run, which computes nothing.
    _ = try run.advance()
    try model.verifyWeights()
    if sequence.answer != nil {
      sequence.finishRereading(logits: logits)
    } else if case .session(let work) = sequence.owner {
      work.sequence.take(sequence.prompt, logits: logits, values: values)
      complete(reading: sequence, run.report)
    } else {
      try beginAnswer(of: sequence, logits: logits, report: run.report)
      // Others may share the prompt from now on.
      if let storage = sequence.storage {
        insert(sequence.prompt, storage, attention: sequence.attention)
      }
    }
  }

  private func makeRun(of sequence: RunningSequence) throws -> any PromptReading {
    guard let cache = sequence.cache else { throw TransformerError.cacheInUse }
    if sequence.observer != nil {
      return try makeObservedRun(sequence.prompt, cache: cache, options: sequence.reading)
    }
    return try model.transformer.makeReading(
      sequence.rereading ?? Array(sequence.prompt[cache.count...]), cache: cache,
      options: sequence.reading)
  }

  func beginAnswer(
    of sequence: RunningSequence, logits: Tensor, report: PrefillReport
  ) throws {
    guard let cache = sequence.cache else { throw TransformerError.cacheInUse }
    let request = sequence.submission.request
    let sampler = try Sampler(request.sampling ?? model.defaultSampling)
    let generator = TokenGenerator(
      model: model.transformer, cache: cache, logits: logits, prompt: sequence.prompt,
      sampler: sampler, stopIDs: model.stopIDs, maximumTokens: sequence.maximumTokens,
      rereading: sequence.reading)
    if request.ignoresEndOfText { generator.excludedIDs = model.stopIDs.sorted() }
    sequence.run = nil
    sequence.answer = RunningSequence.Answer(
      generator: generator,
      decoder: model.tokenizer.makeStreamingDecoder(skipSpecialTokens: !request.showsControlTokens),
      filter: StopStringFilter(request.stopStrings),
      finalMessages: request.finalMessages, constraint: request.constraint,
      report: report, prefillSeconds: (ContinuousClock.now - sequence.start).inSeconds)
    sequence.tellProgress(isNeeded: true)
  }

  /// Ends what a session asked, or looking at a head: the prompt has been read.
  private func complete(
    reading sequence: RunningSequence, _ report: PrefillReport, observer: HeadObserver? = nil
  ) {
    let now = ContinuousClock.now
    let submission = sequence.submission
    let turns = sequence.prefillSeconds + (now - sequence.turnStart).inSeconds
    var summary = AnswerSummary(
      finish: .length, text: "", promptTokens: sequence.prompt.count,
      cachedTokens: sequence.cachedTokens, completionTokens: 0,
      queueSeconds: (sequence.start - submission.time).inSeconds,
      prefillSeconds: (now - sequence.start).inSeconds, timeToFirstToken: nil, decodeSeconds: 0,
      prefill: report, notices: [])
    summary.measuringSeconds = max(0, turns - report.seconds)
    summary.observation = observer?.observation(
      of: model.transformer, report: report, planner: sequence.reading.planner)
    sequence.isRead = true
    keep(sequence)
    finish(submission, .success(summary), reason: "read")
  }
}
