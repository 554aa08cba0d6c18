public import Transformers
import Compute
import Synchronization

/// One sequence of a model: a prompt, its answer, and what follows.
///
/// A session works on one thing at a time; calls made meanwhile wait in their order. Its properties never wait: they
/// show what the last call that ended left. Sessions of one model do not disturb each other: an ``Engine``
/// computes for all of them, on a thread of its own. It reads their prompts by turns and decodes their
/// tokens together.
public final class Session: Sendable {
  let model: LanguageModel
  let options: SessionOptions
  /// Tokens that the session has room for, prompt and answer together.
  public let capacity: Int
  /// Who reads a prompt or makes an answer, and who waits to.
  let turns = TurnQueue()
  let engine: SessionEngine
  /// Used by whoever has its turn.
  let sequence = SessionSequence()
  /// Held for a moment.
  private let snapshot = Mutex(Snapshot())

  /// What others see of the sequence.
  private struct Snapshot {
    var memoryPlan: MemoryPlan?
    var tokens: [Int32] = []
    var nextLogits: [Float]?
    var metrics = GenerationMetrics()
  }

  /// Shows what the turn that ends leaves.
  func show(metrics change: (inout GenerationMetrics) -> Void = { _ in }) {
    snapshot.withLock {
      $0.memoryPlan = sequence.cache?.memoryPlan
      $0.tokens = sequence.history
      $0.nextLogits = sequence.logitValues
      change(&$0.metrics)
    }
  }

  init(model: LanguageModel, engine: SessionEngine, capacity: Int, options: SessionOptions) {
    self.model = model
    self.engine = engine
    self.capacity = capacity
    self.options = options
  }

  deinit {
    // The engine may still know the sequence; its memory is free from now on.
    sequence.cache = nil
    sequence.forgetLogits()
  }

  /// How the sequence uses its device's memory; nil before the first prefill, and on a CPU.
  public var memoryPlan: MemoryPlan? { snapshot.withLock(\.memoryPlan) }

  /// Every token that the session holds, answers included.
  public var tokens: [Int32] { snapshot.withLock(\.tokens) }

  /// ``tokens`` once nobody works on the session any more. Waits for that.
  public func settledTokens() async throws -> [Int32] {
    let turn = turns.reserve()
    try await turns.wait(for: turn)
    defer { turns.release(turn) }
    return sequence.history
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

  /// Reads tokens once it is the session's turn, until the task is cancelled.
  ///
  /// - Parameter plan: Gives all tokens, and how many of them the cache holds already.
  private func read(
    progress: (@Sendable (PrefillProgress) -> Void)?,
    plan: (SessionSequence) -> (tokens: [Int32], kept: Int)
  ) async throws -> PrefillReport {
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
      let turn = turns.reserve()
      try await turns.wait(for: turn)
      defer { turns.release(turn) }
      let (tokens, kept) = plan(sequence)
      return try await read(tokens, keeping: kept, progress, cancellation)
    } onCancel: {
      cancellation.set()
      engine.wake()
    }
  }

  /// Reads `tokens` but for the first `kept`, which the cache holds.
  private func read(
    _ tokens: [Int32], keeping kept: Int, _ progress: (@Sendable (PrefillProgress) -> Void)?,
    _ cancellation: CancellationFlag
  ) async throws -> PrefillReport {
    // A prompt that fills the context leaves room for the one token that its logits give.
    guard tokens.count <= model.contextLength else {
      throw LanguageModelError.promptTooLong(
        tokens: tokens.count, contextLength: model.contextLength)
    }
    guard tokens.count <= capacity else {
      throw LanguageModelError.sessionFull(tokens: tokens.count, capacity: capacity)
    }
    let summary: AnswerSummary
    do {
      summary = try await engine.answer(
        AnswerRequest(prompt: tokens),
        for: try work(.read(keeping: kept), progress, cancellation), cancellation: cancellation)
    } catch {
      show()
      throw error
    }
    show { metrics in
      metrics = GenerationMetrics()
      metrics.promptTokens = summary.prefill.tokens
      metrics.prefill = summary.prefill
      metrics.prefillSeconds = summary.prefill.seconds
      metrics.timeToFirstToken =
        summary.queueSeconds + summary.prefillSeconds - summary.measuringSeconds
    }
    return summary.prefill
  }

  /// What the session asks of the engine.
  func work(
    _ task: SessionWork.Task, _ progress: (@Sendable (PrefillProgress) -> Void)?,
    _ cancellation: CancellationFlag
  ) throws -> SessionWork {
    var reading = PrefillOptions(
      planner: try model.planner(for: options.attention), chunk: options.chunk,
      measureRecall: options.measuresRecall,
      monitor: options.monitor,
      lastLayerLastRowOnly: true, progress: progress, isCancelled: { cancellation.isSet })
    reading.chunkBudgets = options.chunkBudgets
    return SessionWork(
      sequence: sequence, task: task, attention: options.attention, reading: reading,
      makeCache: { [model, options, capacity] in
        try Self.makeCache(of: model, capacity: capacity, options: options)
      })
  }

  static func makeCache(
    of model: LanguageModel, capacity: Int, options: SessionOptions
  ) throws -> KeyValueCache {
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
