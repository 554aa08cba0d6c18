public import Transformers
import Compute
import Synchronization

/// One sequence of a model: a prompt, its answer, and what follows.
///
/// A session works on one thing at a time; calls made meanwhile wait in their order. Its properties never wait: they
/// show what the last call that ended left. Sessions of one model do not disturb each other. All
/// computing is done on threads of its own.
public final class Session: Sendable {
  let model: LanguageModel
  let options: SessionOptions
  /// Tokens that the session has room for, prompt and answer together.
  public let capacity: Int
  /// Who reads a prompt or makes an answer, and who waits to.
  let turns = TurnQueue()
  /// Held by whoever has its turn.
  private let state: Mutex<State>
  /// Held for a moment.
  private let snapshot = Mutex(Snapshot())

  /// What changes. The cache is touched by whoever holds the lock.
  struct State {
    var cache: KeyValueCache?
    /// Every token in the cache, and the last one given out that is not in it yet.
    var history: [Int32] = []
    /// A token that was given out but not read into the cache.
    var unread: Int32?
    /// The prefill whose logits lead to the next token; nil before the first, and once an answer has
    /// begun.
    var prefill: PrefillResult?
    var metrics = GenerationMetrics()

    /// As if nothing had been read.
    mutating func forget() { (history, unread, prefill) = ([], nil, nil) }
  }

  /// What others see of the state.
  private struct Snapshot {
    var memoryPlan: MemoryPlan?
    var tokens: [Int32] = []
    var nextLogits: [Float]?
    var metrics = GenerationMetrics()
  }

  /// Runs `body` with the state once nobody else has it, and shows what it left, also when it throws.
  func withState<Result: ~Copyable>(
    _ body: (inout sending State) throws -> sending Result
  ) rethrows -> sending Result {
    try state.withLock { state in
      defer {
        let left = Snapshot(
          memoryPlan: state.cache?.memoryPlan, tokens: state.history,
          nextLogits: state.prefill?.logits, metrics: state.metrics)
        snapshot.withLock { $0 = left }
      }
      return try body(&state)
    }
  }

  init(model: LanguageModel, capacity: Int, options: SessionOptions) {
    self.model = model
    self.capacity = capacity
    self.options = options
    state = Mutex(State())
  }

  /// How the sequence uses its device's memory; nil before the first prefill, and on a CPU.
  public var memoryPlan: MemoryPlan? { snapshot.withLock(\.memoryPlan) }

  /// Every token that the session holds, answers included.
  public var tokens: [Int32] { snapshot.withLock(\.tokens) }

  /// ``tokens`` once nobody works on the session any more. Waits for that.
  public func settledTokens() async throws -> [Int32] {
    try await inTurn { self.withState { $0.history } }
  }

  /// Runs `body` on a thread of its own once it is its turn.
  ///
  /// - Throws: `CancellationError` if the task is cancelled while it waits.
  func inTurn<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    let turn = turns.reserve()
    try await turns.wait(for: turn)
    defer { turns.release(turn) }
    return try await WorkerThread.run(body)
  }

  /// Logits of the token after the ones held; nil before a prefill, and once an answer has begun.
  package var nextLogits: [Float]? { snapshot.withLock(\.nextLogits) }

  /// What the last prefill and the last answer took.
  public var metrics: GenerationMetrics { snapshot.withLock(\.metrics) }

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
    return try await read(progress: progress) { state in
      (state.history + prompt, kept: state.cache?.count ?? 0)
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
    return try await read(progress: progress) { state in
      let common = zip(state.history, conversation).prefix { $0 == $1 }.count
      return (conversation, kept: min(common, state.cache?.count ?? 0, conversation.count - 1))
    }
  }

  /// Reads tokens on a thread of its own, until the task is cancelled.
  ///
  /// - Parameter plan: Gives all tokens, and how many of them the cache holds already.
  private func read(
    progress: (@Sendable (PrefillProgress) -> Void)?,
    plan: @escaping @Sendable (State) -> (tokens: [Int32], kept: Int)
  ) async throws -> PrefillReport {
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
      try await inTurn {
        try self.withState { state in
          let (tokens, kept) = plan(state)
          return try self.read(
            tokens, keeping: kept, state: &state,
            options: self.prefillOptions(progress: progress, cancellation: cancellation))
        }
      }
    } onCancel: {
      cancellation.set()
    }
  }

  /// How the session's prompts are read.
  func prefillOptions(
    progress: (@Sendable (PrefillProgress) -> Void)?, cancellation: CancellationFlag
  ) throws -> PrefillOptions {
    var prefill = PrefillOptions(
      planner: try model.planner(for: options.attention), chunk: options.chunk,
      measureRecall: options.measuresRecall,
      monitor: options.monitor,
      lastLayerLastRowOnly: true, progress: progress, isCancelled: { cancellation.isSet })
    prefill.chunkBudgets = options.chunkBudgets
    return prefill
  }

  /// Reads `tokens` but for the first `kept`, which the cache holds.
  private func read(
    _ tokens: [Int32], keeping kept: Int, state: inout State,
    options: @autoclosure () throws -> PrefillOptions
  ) throws -> PrefillReport {
    // A prompt that fills the context leaves room for the one token that its logits give.
    guard tokens.count <= model.contextLength else {
      throw LanguageModelError.promptTooLong(
        tokens: tokens.count, contextLength: model.contextLength)
    }
    guard tokens.count <= capacity else {
      throw LanguageModelError.sessionFull(tokens: tokens.count, capacity: capacity)
    }
    let start = ContinuousClock.now
    let options = try options()
    let cache = try state.cache ?? makeCache()
    state.cache = cache
    let kept = model.transformer.mustReadAgain(cache, reaching: tokens.count) ? 0 : kept
    if kept < cache.count {
      cache.truncate(to: kept)
      state.history = Array(tokens[..<kept])
      (state.unread, state.prefill) = (nil, nil)
    }
    let ids = Array(tokens[kept...])
    let setupSeconds = (ContinuousClock.now - start).inSeconds
    let result: PrefillResult
    do {
      result = try model.transformer.prefill(ids, cache: cache, options: options)
      try model.verifyWeights()
    } catch {
      // Chunks that were finished are of no use to a history that does not have them.
      cache.truncate(to: min(kept, cache.count))
      throw error
    }
    state.history = tokens
    state.unread = nil
    state.prefill = result
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
