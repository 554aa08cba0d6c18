public import Transformers
import Compute
import Synchronization

/// One sequence of a model: a prompt, its answer, and what follows.
///
/// A session works on one thing at a time; calls made meanwhile wait. Sessions of one model do not
/// disturb each other. All computing is done on threads of its own.
public final class Session: Sendable {
  let model: LanguageModel
  let options: SessionOptions
  /// Tokens that the session has room for, prompt and answer together.
  public let capacity: Int
  let state: Mutex<State>

  /// What changes. The cache is touched by whoever holds the lock.
  struct State {
    var cache: KeyValueCache?
    /// Every token in the cache, and the last one given out that is not in it yet.
    var history: [Int32] = []
    /// A token that was given out but not read into the cache.
    var unread: Int32?
    /// Logits of the token after the cached ones; nil before the first prefill.
    var logits: [Float]?
    var metrics = GenerationMetrics()

    /// As if nothing had been read.
    mutating func forget() { (history, unread, logits) = ([], nil, nil) }
  }

  init(model: LanguageModel, capacity: Int, options: SessionOptions) {
    self.model = model
    self.capacity = capacity
    self.options = options
    state = Mutex(State())
  }

  /// How the sequence uses its device's memory; nil before the first prefill, and on a CPU.
  public var memoryPlan: MemoryPlan? { state.withLock { $0.cache?.memoryPlan } }

  /// Every token that the session holds, answers included.
  public var tokens: [Int32] { state.withLock(\.history) }

  /// Logits of the token after the ones held; nil before a prefill, and once an answer has begun.
  package var nextLogits: [Float]? { state.withLock(\.logits) }

  /// What the last prefill and the last answer took.
  public var metrics: GenerationMetrics { state.withLock(\.metrics) }

  /// Reads a prompt, behind whatever the session holds already.
  ///
  /// - Parameters:
  ///   - prompt: The prompt's token ids, see ``LanguageModel/encode(_:)``.
  ///   - progress: Told now and then, on the computing thread.
  /// - Throws: ``LanguageModelError``, `TransformerError`, `ComputeError`; `CancellationError` if
  ///   the task was cancelled, within one block of rows of one layer.
  @discardableResult
  public func prefill(
    _ prompt: [Int32], progress: (@Sendable (PrefillProgress) -> Void)? = nil
  ) async throws -> PrefillReport {
    guard !prompt.isEmpty else { throw LanguageModelError.emptyPrompt }
    return try await compute(progress) { session, state, isCancelled in
      try session.read(
        state.history + prompt, keeping: state.cache?.count ?? 0, state: &state,
        progress: progress, isCancelled: isCancelled)
    }
  }

  /// Reads a complete conversation in place of what the session holds, and reuses the keys and
  /// values of the longest beginning that both have in common.
  ///
  /// Only what follows is read, like a chunk behind a cached beginning: with sparse attention the
  /// kept positions stay as they were computed, and the new rows estimate their own indices over
  /// all keys. At least the last token is read again, since it leads to the answer. Rotary
  /// frequencies stay as the session's first prompt decided them, but for LongRoPE: a conversation
  /// that needs the other set of factors is read as a whole.
  ///
  /// - Parameters:
  ///   - conversation: The ids of everything from the first token on, earlier answers included.
  ///   - progress: Told now and then, on the computing thread.
  /// - Returns: What was read; ``PrefillReport/reusedTokens`` says how much was not.
  /// - Throws: as ``prefill(_:progress:)``. The common beginning remains in the session.
  @discardableResult
  public func read(
    _ conversation: [Int32], progress: (@Sendable (PrefillProgress) -> Void)? = nil
  ) async throws -> PrefillReport {
    guard !conversation.isEmpty else { throw LanguageModelError.emptyPrompt }
    return try await compute(progress) { session, state, isCancelled in
      let common = zip(state.history, conversation).prefix { $0 == $1 }.count
      let kept = min(common, state.cache?.count ?? 0, conversation.count - 1)
      return try session.read(
        conversation, keeping: kept, state: &state, progress: progress, isCancelled: isCancelled)
    }
  }

  /// Runs `body` on a thread of its own, with the session's state and the task's cancellation.
  private func compute(
    _ progress: (@Sendable (PrefillProgress) -> Void)?,
    _ body:
      @escaping @Sendable (Session, inout State, @escaping @Sendable () -> Bool) throws
      -> PrefillReport
  ) async throws -> PrefillReport {
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
      try await WorkerThread.run {
        try self.state.withLock { state in try body(self, &state) { cancellation.isSet } }
      }
    } onCancel: {
      cancellation.set()
    }
  }

  /// Reads `tokens` but for the first `kept`, which the cache holds.
  private func read(
    _ tokens: [Int32], keeping kept: Int, state: inout State,
    progress: (@Sendable (PrefillProgress) -> Void)?, isCancelled: @escaping @Sendable () -> Bool
  ) throws -> PrefillReport {
    guard tokens.count < model.contextLength else {
      throw LanguageModelError.promptTooLong(
        tokens: tokens.count, contextLength: model.contextLength)
    }
    guard tokens.count <= capacity else {
      throw LanguageModelError.sessionFull(tokens: tokens.count, capacity: capacity)
    }
    let start = ContinuousClock.now
    let planner = try model.planner(for: options.attention)
    let cache = try state.cache ?? makeCache()
    state.cache = cache
    let kept = model.transformer.mustReadAgain(cache, reaching: tokens.count) ? 0 : kept
    if kept < cache.count {
      cache.truncate(to: kept)
      state.history = Array(tokens[..<kept])
      (state.unread, state.logits) = (nil, nil)
    }
    let ids = Array(tokens[kept...])
    let setupSeconds = (ContinuousClock.now - start).inSeconds
    let result: PrefillResult
    do {
      result = try model.transformer.prefill(
        ids, cache: cache,
        options: PrefillOptions(
          planner: planner, chunk: options.chunk, measureRecall: options.measuresRecall,
          monitor: options.monitor,
          lastLayerLastRowOnly: true, progress: progress,
          isCancelled: isCancelled))
    } catch {
      // Chunks that were finished are of no use to a history that does not have them.
      cache.truncate(to: min(kept, cache.count))
      throw error
    }
    state.history = tokens
    state.unread = nil
    state.logits = result.logits
    state.metrics = GenerationMetrics()
    state.metrics.promptTokens = ids.count
    state.metrics.prefill = result.report
    state.metrics.prefillSeconds = result.report.seconds
    state.metrics.timeToFirstToken = setupSeconds + result.report.seconds
    return result.report
  }

  func makeCache() throws -> KeyValueCache {
    let cache = try model.transformer.makeCache(
      capacity: capacity, keyValues: options.keyValues, chunk: options.chunk,
      planner: try model.planner(for: options.attention))
    cache.calibratedSelections = options.attention.calibratedSelections
    return cache
  }
}

/// Set from any thread, read from the one that computes.
final class CancellationFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func set() { flag.store(true, ordering: .relaxed) }
}
