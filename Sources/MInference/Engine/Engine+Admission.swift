import Compute
import Transformers

/// Beginning requests: which sequence's keys and values they go on from, and in which memory.
extension Engine {
  /// Whether a request was begun.
  private enum Admission {
    case begun
    /// It ended with an error.
    case ended
    /// It needs memory that others have.
    case waitsForMemory
    /// A prompt that is being read begins alike: its keys and values will do for both.
    case waitsForPrefix
  }

  /// What is read sooner by waiting than by reading it again.
  private static let tokensWorthWaiting = 512

  /// Begins what can be begun, in order. A request that waits for memory holds up those behind it, so
  /// that small ones do not keep a large one out.
  func admit() {
    var index = 0
    while running.count < options.runningSequences, index < waiting.count {
      let submission = waiting[index]
      let admission: Admission
      do {
        if let session = submission.session {
          try begin(submission, for: session)
          admission = .begun
        } else {
          admission = try begin(submission)
        }
      } catch {
        finish(submission, with: error, reason: "error")
        admission = .ended
      }
      switch admission {
      case .begun, .ended: waiting.remove(at: index)
      case .waitsForPrefix: index += 1
      case .waitsForMemory: return
      }
    }
  }

  private func begin(_ submission: Submission) throws -> Admission {
    let request = submission.request
    let prompt = request.prompt
    let attention = request.attention ?? options.session.attention
    let maximumTokens = min(
      request.maximumTokens ?? options.answerTokens, model.contextLength - prompt.count)
    let needed = prompt.count + max(1, maximumTokens)
    // Later questions of the same conversation should fit in place.
    let capacity = min(model.contextLength, (needed + max(1024, needed / 16) + 255) / 256 * 256)
    let planner = try model.planner(for: attention)

    let source = prefix(of: prompt, attention: attention)
    let found = source?.common ?? 0
    if let leader = reading(prompt, attention: attention), leader > found + Self.tokensWorthWaiting
    {
      return .waitsForPrefix
    }
    let onDisk = directory?.find(prompt, attention: attention, longerThan: found)
    if let longest = longestSequence, needed > longest {
      throw EngineError.doesNotFit(tokens: needed, longest: longest)
    }

    // In place of a sequence that is kept, if that has what is needed.
    let isFree = source.map { source in held.all.contains { $0 === source.sequence } } ?? false
    let canCopy = source.map { model.transformer.canCopyPrefix(of: $0.sequence.cache) } ?? false
    let keeps = canCopy && makeRoom(for: capacity, keeping: source?.sequence, isTrial: true)
    var reuse = PrefixReuse.none
    if let source, onDisk == nil {
      reuse = PrefixReuse.choose(
        common: source.common, held: source.sequence.tokens.count,
        fitsInPlace: isFree && source.sequence.cache.capacity >= needed, mayCopy: keeps)
    }
    let sequence: HeldSequence
    var cached = 0
    switch (reuse, source) {
    case (.rewind, .some(let source)):
      held.remove(source.sequence)
      source.sequence.cache.truncate(to: source.common)
      sequence = source.sequence
      cached = source.common
    default:
      let kept = reuse == .copy ? source?.sequence : nil
      guard let cache = try makeCache(capacity, attention, planner, keeping: kept) else {
        return .waitsForMemory
      }
      sequence = HeldSequence(cache: cache, tokens: [], attention: attention)
      if reuse == .copy, let source {
        try model.transformer.copyPrefix(
          of: source.sequence.cache, to: cache, count: source.common)
        if isFree { held.touch(source.sequence) }
        cached = source.common
      } else if let onDisk {
        cached = directory?.restore(onDisk, into: cache, for: prompt) ?? 0
        if cached > 0 { metrics.diskHits += 1 }
      }
    }
    let cancellation = submission.cancellation
    let reading = PrefillOptions(
      planner: planner, chunk: options.session.chunk,
      measureRecall: options.session.measuresRecall,
      monitor: request.monitor ?? options.session.monitor,
      lastLayerLastRowOnly: true, isCancelled: { cancellation.isSet })
    run(
      RunningSequence(
        submission, owner: .engine(sequence), cache: sequence.cache, attention: attention,
        reading: reading, cachedTokens: cached, maximumTokens: maximumTokens))
    return .begun
  }

  /// Begins to read a session's prompt, or to answer it.
  private func begin(_ submission: Submission, for session: SessionWork) throws {
    let start = ContinuousClock.now
    let sequence = session.sequence
    let cache = try sequence.cache ?? session.makeCache()
    sequence.cache = cache
    let begun = { (cached: Int) in
      RunningSequence(
        submission, owner: .session(session), cache: cache, attention: session.attention,
        reading: session.reading, cachedTokens: cached,
        maximumTokens: submission.request.maximumTokens ?? 0, start: start)
    }
    switch session.task {
    case .read(let kept):
      let prompt = submission.request.prompt
      let kept = model.transformer.mustReadAgain(cache, reaching: prompt.count) ? 0 : kept
      if kept < cache.count {
        cache.truncate(to: kept)
        sequence.history = Array(prompt[..<kept])
        sequence.forgetLogits()
      }
      run(begun(kept))
    case .answer:
      guard let logits = sequence.logits else { throw LanguageModelError.nothingPrefilled }
      let begun = begun(cache.count)
      try beginAnswer(of: begun, logits: logits, report: PrefillReport(layers: 0, heads: 0))
      // What the last token led to is not known before it is read.
      sequence.forgetLogits()
      run(begun)
    }
  }

  private func run(_ sequence: RunningSequence) {
    running.append(sequence)
    let submission = sequence.submission
    metrics.promptTokens += sequence.prompt.count
    metrics.cachedTokens += sequence.cachedTokens
    metrics.queueSeconds.add((ContinuousClock.now - submission.time).inSeconds)
    sequence.tellProgress(isNeeded: true)
  }

  /// The sequence, kept or being answered, with which a prompt has most tokens in common.
  private func prefix(
    of prompt: [Int32], attention: AttentionOptions
  ) -> (sequence: HeldSequence, common: Int)? {
    var best = held.best(for: prompt, attention: attention).map {
      (sequence: $0.0, common: $0.common)
    }
    for other in running where !other.isReading && other.attention == attention {
      guard let sequence = other.held else { continue }
      let common = min(commonPrefix(other.prompt, prompt), prompt.count - 1, sequence.cache.count)
      if common > best?.common ?? 0 { best = (sequence, common) }
    }
    guard let best, best.common > 0 else { return nil }
    // LongRoPE turns the keys of a longer sequence with other factors.
    guard !model.transformer.mustReadAgain(best.sequence.cache, reaching: prompt.count) else {
      return nil
    }
    return best
  }

  /// The most tokens that a prompt has in common with one that is being read and can be copied then.
  private func reading(_ prompt: [Int32], attention: AttentionOptions) -> Int? {
    running.filter {
      guard $0.answer == nil, $0.attention == attention, let held = $0.held else { return false }
      return model.transformer.canCopyPrefix(of: held.cache)
    }.map { min(commonPrefix($0.prompt, prompt), prompt.count - 1) }.max()
  }

  /// A cache, for which sequences that are kept are given up; nil where running ones have the memory.
  private func makeCache(
    _ capacity: Int, _ attention: AttentionOptions, _ planner: AttentionPlanner?,
    keeping kept: HeldSequence?
  ) throws -> KeyValueCache? {
    guard makeRoom(for: capacity, keeping: kept, isTrial: false) else { return nil }
    while true {
      do {
        let cache = try model.transformer.makeCache(
          capacity: capacity, keyValues: options.session.keyValues, chunk: options.session.chunk,
          planner: planner)
        cache.calibratedSelections = attention.calibratedSelections
        return cache
      } catch {
        // The device may have less than was thought.
        guard let oldest = held.oldest(but: kept) else {
          if running.isEmpty { throw error }
          return nil
        }
        held.remove(oldest)
      }
    }
  }

  /// Gives up sequences that are kept until so many tokens fit the budget.
  ///
  /// - Parameter isTrial: Nothing is given up; only the answer counts.
  private func makeRoom(for capacity: Int, keeping kept: HeldSequence?, isTrial: Bool) -> Bool {
    let wanted = capacity * bytesPerToken
    var used = usedBytes
    let candidates = held.all.filter { $0 !== kept }.sorted { $0.lastUse < $1.lastUse }
    for sequence in candidates where used + wanted > memoryBudget {
      used -= sequence.cache.byteCount
      if !isTrial { held.remove(sequence) }
    }
    // A sequence that runs alone is let in: what is free decides.
    return used + wanted <= memoryBudget || (running.isEmpty && kept == nil)
  }

  /// The longest sequence that the budget allows; nil where the device decides by itself.
  private var longestSequence: Int? {
    bytesPerToken > 0 ? max(memoryBudget / bytesPerToken, 0) : nil
  }

  /// Bytes of a position's keys and values in all layers.
  private var bytesPerToken: Int {
    let transformer = model.transformer
    let shape = transformer.attentionShape(layer: 0)
    let type = options.session.keyValues.type ?? transformer.backend.activationType
    return 2 * transformer.layerCount * shape.keyValueHeads * shape.headDim * type.byteCount
  }
}
