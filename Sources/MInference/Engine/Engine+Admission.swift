import Compute
import Transformers

/// Beginning requests: which sequence's keys and values they go on from, and in which memory.
extension Engine {
  /// Whether a request was begun.
  enum Admission {
    case begun
    /// It ended with an error.
    case ended
    /// It needs memory that others have.
    case waitsForMemory
    /// A prompt that is being read begins alike: its keys and values will do for both. Or another one is being
    /// read from disk.
    case waitsForPrefix
  }

  /// Tokens at the end of a long prompt that the next one may not have: the question.
  private static let questionTokens = 1024

  /// What is read sooner by waiting than by reading it again.
  private static let tokensWorthWaiting = 512

  /// Positions for a sequence of so many: later questions of the same conversation should fit in place.
  static func capacity(for needed: Int, of model: LanguageModel) -> Int {
    min(model.contextLength, (needed + max(1024, needed / 16) + 255) / 256 * 256)
  }

  /// Begins what can be begun, in order. A request that waits for memory holds up those behind it, so
  /// that small ones do not keep a large one out.
  func admit() {
    wantedMemory = nil
    var index = 0
    while running.count < options.runningSequences, index < waiting.count {
      let submission = waiting[index]
      let admission: Admission
      do {
        if let session = submission.session {
          try begin(submission, for: session)
          admission = .begun
        } else if let observed = submission.request.observedHead {
          admission = try begin(submission, observing: observed)
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
    let capacity = Self.capacity(for: needed, of: model)
    let planner = try model.planner(for: attention)

    let match = prefixes.find(
      prompt, attention: attention,
      hasLongFactors: model.transformer.usesLongFactors(prompt.count))
    let found = match?.common ?? 0
    let onDisk =
      isDiskPaused
      ? nil : directory?.find(prompt, attention: attention, longerThan: found)
    if let leader = reading(prompt, attention: attention),
      leader > found + Self.tokensWorthWaiting, leader >= onDisk?.end ?? 0
    {
      return .waitsForPrefix
    }
    if onDisk != nil, running.contains(where: { $0.restoring != nil }) { return .waitsForPrefix }
    if let longest = longestSequence, needed > longest {
      throw EngineError.doesNotFit(tokens: needed, longest: longest)
    }

    var reuse = PrefixReuse.none
    if let match {
      let caches = match.rows.map(\.cache)
      let mayCopy =
        caches.allSatisfy(model.transformer.canCopyRows)
        && makeRoom(for: capacity, behind: match, isTrial: true)
      let last = match.nodes.last?.storage?.cache
      reuse = PrefixReuse.choose(
        common: found, held: found + match.lostTokens,
        fitsInPlace: prefixes.canRewind(match) && last?.capacity ?? 0 >= needed, mayCopy: mayCopy)
      // A cache that is being read is not copied from.
      if reuse == .copy, isRead(oneOf: caches) { return .waitsForPrefix }
    }
    let storage: PrefixStorage
    var cached = 0
    if reuse == .rewind, let match, let rewound = prefixes.rewind(match) {
      storage = rewound
      cached = found
    } else {
      let copied = reuse == .copy ? match : nil
      guard
        let cache = try makeCache(
          capacity, prompt: prompt.count, attention, planner, behind: copied)
      else {
        return .waitsForMemory
      }
      storage = PrefixStorage(cache: cache)
      if let match = copied {
        // Where the rows are may have changed since, to make room.
        try model.transformer.append(match.rows(from: cache.count), to: cache)
        prefixes.use(match.nodes)
        cached = found
      }
    }
    storage.isRunning = true
    let cancellation = submission.cancellation
    let reading = PrefillOptions(
      planner: planner, chunk: options.session.chunk,
      measureRecall: options.session.measuresRecall,
      monitor: request.monitor ?? options.session.monitor,
      lastLayerLastRowOnly: true, isCancelled: { cancellation.isSet })
    let sequence = RunningSequence(
      submission, owner: .engine(storage), cache: storage.cache, attention: attention,
      reading: reading, cachedTokens: cached, maximumTokens: maximumTokens)
    if onDisk != nil {
      sequence.restoring = restoring(prompt, attention, into: storage.cache, behind: cached)
    }
    run(sequence)
    return .begun
  }

  /// What the disk has of a prompt behind what a cache holds of it.
  private func restoring(
    _ prompt: [Int32], _ attention: AttentionOptions, into cache: KeyValueCache,
    behind cached: Int
  ) -> PrefixRestoring? {
    // Numbers with factors of their sequence do not go on behind those of another.
    guard let directory, cached == 0 || model.transformer.canCopyRows(of: cache),
      let match = directory.find(
        prompt, attention: attention, type: cache.type, longerThan: cached),
      match.end <= cache.capacity
    else { return nil }
    directory.touch(match)
    do {
      return try PrefixRestoring(
        match, into: cache, transformer: model.transformer, from: directory)
    } catch {
      noteDiskFailure("\(error)")
      return nil
    }
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

  func run(_ sequence: RunningSequence) {
    running.append(sequence)
    let submission = sequence.submission
    if sequence.observer == nil { metrics.promptTokens += sequence.prompt.count }
    metrics.cachedTokens += sequence.cachedTokens
    metrics.queueSeconds.add((ContinuousClock.now - submission.time).inSeconds)
    sequence.tellProgress(isNeeded: true)
  }

  /// The most tokens that a prompt has in common with one that is being read and can be copied then.
  private func reading(_ prompt: [Int32], attention: AttentionOptions) -> Int? {
    running.filter {
      guard $0.answer == nil, $0.attention == attention, let storage = $0.storage else {
        return false
      }
      return model.transformer.canCopyRows(of: storage.cache)
    }.map { min(commonPrefix($0.prompt, prompt), prompt.count - 1) }.max()
  }

  private func isRead(oneOf caches: [KeyValueCache]) -> Bool {
    running.contains { sequence in
      sequence.isReading && caches.contains { $0 === sequence.cache }
    }
  }

  /// What a new sequence can have of the tree's memory.
  private func shareable(_ match: PrefixMatch?) -> CachedRows? {
    guard let beginning = match?.beginning else { return nil }
    let count = model.transformer.shareable(beginning)
    return count > 0 ? CachedRows(beginning.cache, rows: 0..<count) : nil
  }

  /// A cache, for which sequences that are kept are given up; nil where running ones have the memory.
  ///
  /// - Parameters:
  ///   - prompt: Its number of tokens.
  ///   - match: What the cache is to begin with: as much of it as can be shared is there already.
  private func makeCache(
    _ capacity: Int, prompt: Int, _ attention: AttentionOptions, _ planner: AttentionPlanner?,
    behind match: PrefixMatch?
  ) throws -> KeyValueCache? {
    guard makeRoom(for: capacity, behind: match, isTrial: false) else { return nil }
    let (transformer, session) = (model.transformer, options.session)
    while true {
      do {
        let cache =
          if let beginning = shareable(match) {
            try transformer.makeCache(
              capacity: capacity, beginningWith: beginning, chunk: session.chunk, planner: planner)
          } else {
            try transformer.makeCache(
              capacity: capacity, keyValues: session.keyValues, chunk: session.chunk,
              planner: planner, shareable: prompt - min(Self.questionTokens, prompt / 16))
          }
        cache.calibratedSelections = attention.calibratedSelections
        cache.keptSelections = attention.calibratedSelections
        return cache
      } catch {
        // The device may have less than was thought.
        guard let oldest = prefixes.expendable(but: match?.nodes ?? []).first else {
          if running.isEmpty { throw error }
          return nil
        }
        guard giveUp(oldest) else { return nil }
      }
    }
  }

  /// Frees memory until so many tokens fit the budget: what is there twice, or reserved and not used, goes
  /// first, then the ends of sequences, the least recently used first.
  ///
  /// - Parameters:
  ///   - match: What the tokens begin with and what is kept therefore; what can be shared needs no memory.
  ///   - isTrial: Nothing is freed; only the answer counts.
  func makeRoom(for capacity: Int, behind match: PrefixMatch? = nil, isTrial: Bool) -> Bool {
    let kept = match?.nodes ?? []
    var wanted: Int {
      max(0, capacity - (shareable(match)?.rows.count ?? 0)) * bytesPerToken
    }
    if isTrial {
      let freed = prefixes.mostFreed(but: kept, running: running.compactMap(\.cache))
      return usedBytes - freed + wanted <= memoryBudget
    }
    while usedBytes + wanted > memoryBudget {
      if compact() { continue }
      guard let oldest = prefixes.expendable(but: kept).first else { break }
      guard giveUp(oldest) else { return false }
    }
    // A sequence that runs alone is let in: what is free decides.
    return usedBytes + wanted <= memoryBudget || (running.isEmpty && kept.isEmpty)
  }

  /// Moves what the tree has in one cache to a smaller one.
  ///
  /// - Returns: false where there is none worth it, or none that can be moved.
  private func compact() -> Bool {
    guard let compaction = prefixes.compaction(of: model.transformer.canCopyRows) else {
      return false
    }
    let (storage, positions) = (compaction.storage, compaction.positions)
    let first = storage.firstPosition
    do {
      let cache = try model.transformer.makeCache(
        capacity: positions.count, keyValues: options.session.keyValues,
        shareable: positions.lowerBound == 0 ? positions.count : nil)
      try model.transformer.append(
        [
          CachedRows(
            storage.cache, rows: positions.lowerBound - first..<positions.upperBound - first)
        ],
        to: cache)
      prefixes.replace(
        storage, by: PrefixStorage(cache: cache, firstPosition: positions.lowerBound))
      return true
    } catch {
      // The device has no memory for both; something is given up then.
      return false
    }
  }

  /// The longest sequence that the budget allows; nil where the device decides by itself.
  private var longestSequence: Int? {
    bytesPerToken > 0 ? max(memoryBudget / bytesPerToken, 0) : nil
  }

  /// Bytes of a position's keys and values in all layers.
  var bytesPerToken: Int { Self.bytesPerToken(of: model, options.session.keyValues) }

  static func bytesPerToken(of model: LanguageModel, _ keyValues: KeyValueOptions) -> Int {
    let transformer = model.transformer
    let shape = transformer.attentionShape(layer: 0)
    let type = keyValues.type ?? transformer.backend.activationType
    return 2 * transformer.layerCount * shape.keyValueHeads * shape.headDim * type.byteCount
  }
}
