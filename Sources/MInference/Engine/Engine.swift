import Transformers
import Compute
import Synchronization

/// Answers many prompts on one model, side by side.
///
///     let engine = try Engine(model: model)
///     let stream = try engine.submit(AnswerRequest(prompt: model.encode(.user("..."))))
///     for try await event in stream { ... }
///     await engine.stop()
///
/// The engine runs on the one thread of its device (``ComputeThread``). By turns it gives every
/// running answer one token, and reads blocks of prompts for at most ``EngineOptions/stallSeconds``.
/// The tokens of all running answers are decoded together. Answers join and leave at any turn; each has its
/// own sampler and grammar.
///
/// Sessions of a model share an engine of their own, which is that of ``Session``.
///
/// Keys and values stay in memory when an answer ends, so that a prompt that begins alike reads only
/// what follows: in place of the earlier sequence or behind the common beginning, in memory of both
/// (``AnswerSummary/cachedTokens``). A prompt that was given up keeps the chunks that were finished.
///
/// An engine lives until ``stop(within:writingFor:)``.
public actor Engine {
  public nonisolated let model: LanguageModel
  public nonisolated let options: EngineOptions
  /// Bytes that keys and values of all sequences may take.
  public nonisolated let memoryBudget: Int
  nonisolated let thread: ComputeThread
  nonisolated let inbox = EngineInbox()
  private nonisolated let snapshot = Mutex(EngineMetrics())

  var waiting: [Submission] = []
  /// In the order in which they came.
  var running: [RunningSequence] = []
  /// What is kept for later prompts, and what running sequences have in common with it.
  var prefixes = PrefixTree()
  var order = ReadingOrder()
  var metrics = EngineMetrics()
  let decoding: DecodingBatch
  /// Where prefixes are kept on disk; nil where the options name none, and once the engine has stopped.
  var directory: PrefixDirectory?
  /// The segment that is being written to disk; nil between two.
  var storing: PrefixWriting?
  /// The end of a sequence that is to be written before a request gets its memory.
  var wantedMemory: PrefixNode?
  /// Until when a disk that failed is left alone.
  var diskPauseEnd: ContinuousClock.Instant?
  /// Whether a notice has said so; false again once the disk takes something.
  var diskHasFailed = false
  /// Requests that have ended. Their callers are told when the turn uses nothing of them any more.
  private var endings: [(sink: AnswerSink, result: Result<AnswerSummary, any Error>)] = []
  private var isStopped = false
  private var stopWaiters: [CheckedContinuation<Void, Never>] = []

  public nonisolated var unownedExecutor: UnownedSerialExecutor {
    thread.asUnownedSerialExecutor()
  }

  /// - Parameter thread: The thread of an engine on the same device; nil: a new one.
  /// - Throws: What is wrong with the options; ``LanguageModelError/noThread(reason:)``; a directory
  ///   for prefixes that cannot be used.
  public init(
    model: LanguageModel, options: EngineOptions = EngineOptions(), thread: ComputeThread? = nil
  ) throws {
    _ = try model.planner(for: options.session.attention)
    self.model = model
    self.options = options
    self.thread = try thread ?? ComputeThread()
    decoding = DecodingBatch(model.transformer)
    memoryBudget =
      try options.memoryBytes ?? model.transformer.backend.availableMemory()
      .map { $0.device / 10 * 7 } ?? Self.hostMemoryBudget
    directory = try options.disk.map {
      try PrefixDirectory($0, model: model)
    }
    let keyValues = options.session.keyValues
    let capacity = Self.capacity(for: directory?.longestSequence ?? 0, of: model)
    if directory?.longestSequence != nil,
      capacity * Self.bytesPerToken(of: model, keyValues) <= memoryBudget
    {
      // A device that keeps freed memory has it at hand when the sequence comes back from disk.
      _ = try? model.transformer.makeCache(
        capacity: capacity, keyValues: keyValues, chunk: options.session.chunk,
        shareable: capacity)
    }
    metrics.keyValueBudget = memoryBudget
    snapshot.withLock { $0.keyValueBudget = memoryBudget }
    Task { await self.run() }
  }

  /// What the engine has done and does.
  public nonisolated var currentMetrics: EngineMetrics {
    var metrics = snapshot.withLock { $0 }
    metrics.waiting = inbox.waiting
    return metrics
  }

  /// Takes a request, which is begun when it is its turn.
  ///
  /// - Throws: ``EngineError``; ``LanguageModelError`` for a prompt that is empty or too long;
  ///   `TransformerError` and `PatternError` for options that make no sense.
  public nonisolated func submit(_ request: AnswerRequest) throws -> AnswerStream {
    guard !request.prompt.isEmpty else { throw LanguageModelError.emptyPrompt }
    guard request.prompt.count < model.contextLength else {
      throw LanguageModelError.promptTooLong(
        tokens: request.prompt.count, contextLength: model.contextLength)
    }
    let vocabulary = Int32(clamping: model.transformer.vocabularySize)
    if let index = request.prompt.firstIndex(where: { $0 < 0 || $0 >= vocabulary }) {
      throw TransformerError.idOutOfRange(
        index: index, id: request.prompt[index], vocabularySize: Int(vocabulary))
    }
    try request.sampling?.validate()
    try request.observedHead?.validate(for: model, tokens: request.prompt.count)
    if let attention = request.attention { _ = try model.planner(for: attention) }
    let cancellation = CancellationFlag()
    let (events, continuation) = AsyncThrowingStream<AnswerEvent, any Error>.makeStream()
    let sink = AnswerSink(
      tell: { continuation.yield($0) },
      finish: { result in
        switch result {
        case .success(let summary):
          continuation.yield(.finished(summary))
          continuation.finish()
        case .failure(let error): continuation.finish(throwing: error)
        }
      })
    let id = try inbox.add(
      request, cancellation: cancellation, sink: sink, limit: options.queueLength)
    continuation.onTermination = { [inbox] reason in
      guard case .cancelled = reason else { return }
      cancellation.set()
      inbox.wake()
    }
    return AnswerStream(id: id, events: events)
  }

  /// Takes what a session asks for its own sequence. It waits for nobody's memory and for no place in the
  /// queue.
  ///
  /// - Returns: The outcome, once the engine does not use the sequence any more.
  /// - Throws: What went wrong; `CancellationError` where the flag was set, within one block.
  nonisolated func answer(
    _ request: AnswerRequest, for session: SessionWork, cancellation: CancellationFlag,
    tell: @escaping @Sendable (AnswerEvent) -> Void = { _ in }
  ) async throws -> AnswerSummary {
    try await withCheckedThrowingContinuation { continuation in
      let sink = AnswerSink(tell: tell, finish: { continuation.resume(with: $0) })
      do {
        _ = try inbox.add(request, session: session, cancellation: cancellation, sink: sink)
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  /// Takes no more requests, and returns when everything has ended.
  ///
  /// - Parameters:
  ///   - seconds: What is not finished by then ends with ``EngineError/stopping``.
  ///   - writingSeconds: How much longer prefixes may be written to disk. Those that are whole by then
  ///     stay, and the rest is given up.
  public func stop(within seconds: Double = 0, writingFor writingSeconds: Double = 60) async {
    let deadline = ContinuousClock.now + .seconds(seconds)
    inbox.stop(by: deadline, writingBy: deadline + .seconds(writingSeconds))
    if isStopped { return }
    await withCheckedContinuation { stopWaiters.append($0) }
  }

  /// The loop. Between two turns others' calls on the engine are served.
  private func run() async {
    while true {
      waiting += inbox.take(waiting: waiting.count)
      endWhatWasCancelled()
      admit()
      endWhatWaitedTooLong()
      publish()
      tellEndings()
      let start = ContinuousClock.now
      let isIdle = running.isEmpty && waiting.isEmpty
      if isIdle, let deadline = inbox.writingDeadline, deadline <= start {
        await giveUpWriting()
        return end()
      }
      let progress =
        isIdle || (directory != nil && storesBeside)
        ? store(for: options.stallSeconds / 4) : StoringProgress.nothing
      if !running.isEmpty {
        takeTurn(since: start)
      } else if !inbox.hasNews {
        switch progress {
        case .advanced: break
        case .waiting: await inbox.sleep(atMost: 0.1)
        case .nothing where !isIdle: break
        case .nothing:
          if inbox.stopDeadline != nil { return end() }
          await inbox.sleep()
        }
      }
      await Task.yield()
    }
  }

  /// Ends the writing at its deadline. Segments that are whole stay; a notice says whether others are missing.
  private func giveUpWriting() async {
    guard let directory else { return }
    if storing != nil || prefixes.expendable(but: []).contains(where: isToBeStored) {
      options.notice?(
        "\(directory.options.path): the time to stop came before all prefixes were written; "
          + "prompts that begin like the others will be read again")
    }
    guard let storing else { return }
    storing.cancel()
    // Its thread has the directory's lock. One that hangs is left alone.
    let end = ContinuousClock.now + .seconds(0.5)
    while !storing.hasEnded, .now < end {
      refuseNews()
      await inbox.sleep(atMost: 0.05)
    }
  }

  /// Ends requests that came just before the engine stopped, and that the loop has not seen.
  private func refuseNews() {
    for submission in inbox.take(waiting: 0) {
      finish(submission, with: EngineError.stopping, reason: "stopped")
    }
  }

  /// Ends the engine: all requests have ended, and prefixes are on disk or given up.
  private func end() {
    storing = nil
    prefixes.removeAll()
    refuseNews()
    publish()
    tellEndings()
    // Another engine may have it from now on.
    directory = nil
    isStopped = true
    stopWaiters.forEach { $0.resume() }
    stopWaiters = []
  }

  private func publish() {
    inbox.setWaiting(waiting.count)
    metrics.running = running.count
    metrics.keptSequences = prefixes.leafCount
    metrics.keyValueBytes = usedBytes
    metrics.diskBytes = directory?.byteCount ?? 0
    let current = metrics
    snapshot.withLock { $0 = current }
  }

  /// Bytes of keys and values, running and kept. What sequences have in common counts once.
  var usedBytes: Int {
    prefixes.byteCount(
      with: running.filter { $0.storage?.isInTree != true }.compactMap(\.cache))
  }

  /// Ends requests that could not be begun in time.
  private func endWhatWaitedTooLong() {
    let now = ContinuousClock.now
    waiting.removeAll { submission in
      guard submission.session == nil,
        (now - submission.time).inSeconds > options.queueSeconds
      else { return false }
      finish(
        submission, with: EngineError.queueTimeout(seconds: options.queueSeconds),
        reason: "timeout")
      return true
    }
  }

  /// Ends requests whose reader has gone, or for which no time is left.
  private func endWhatWasCancelled() {
    let now = ContinuousClock.now
    let isOver = inbox.stopDeadline.map { $0 <= now } ?? false
    waiting.removeAll { submission in
      if submission.cancellation.isSet {
        finish(submission, with: CancellationError(), reason: "cancelled")
        return true
      }
      if isOver {
        finish(submission, with: EngineError.stopping, reason: "stopped")
        return true
      }
      return false
    }
    for sequence in running where sequence.submission.cancellation.isSet || isOver {
      let error: any Error = isOver ? EngineError.stopping : CancellationError()
      end(sequence, with: error, reason: isOver ? "stopped" : "cancelled")
    }
  }

  /// Ends a sequence without an answer; what it has in its cache is kept.
  func end(_ sequence: RunningSequence, with error: any Error, reason: String) {
    keep(sequence)
    finish(sequence.submission, with: error, reason: reason)
  }

  func finish(_ submission: Submission, with error: any Error, reason: String) {
    finish(submission, .failure(error), reason: reason)
  }

  func finish(
    _ submission: Submission, _ result: Result<AnswerSummary, any Error>, reason: String
  ) {
    metrics.finished[reason, default: 0] += 1
    metrics.requestSeconds.add((ContinuousClock.now - submission.time).inSeconds)
    endings.append((submission.sink, result))
  }

  /// Tells callers that their requests have ended. The metrics count these by then, and the engine holds nothing of
  /// a session that its caller drops now.
  private func tellEndings() {
    let ended = endings
    endings = []
    for ending in ended { ending.sink.finish(ending.result) }
  }

  /// Takes a sequence out of those that run, and keeps it for later prompts unless it is a session's.
  func keep(_ sequence: RunningSequence) {
    running.removeAll { $0 === sequence }
    let tokens = sequence.leave()
    guard let storage = sequence.storage else { return }
    storage.isRunning = false
    metrics.longestSequence = max(metrics.longestSequence, tokens.count)
    insert(tokens, storage, attention: sequence.attention)
  }

  /// Lets later prompts find a sequence.
  func insert(_ tokens: [Int32], _ storage: PrefixStorage, attention: AttentionOptions) {
    prefixes.insert(
      tokens, storage, attention: attention,
      hasLongFactors: model.transformer.usesLongFactors(
        storage.cache.sequenceLength ?? tokens.count))
  }

  private static var hostMemoryBudget: Int {
    let available = AvailableMemory.bytes
    return available == 0 ? 4 << 30 : available / 10 * 7
  }
}
