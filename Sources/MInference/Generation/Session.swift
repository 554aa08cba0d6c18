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
  }

  init(model: LanguageModel, capacity: Int, options: SessionOptions) {
    self.model = model
    self.capacity = capacity
    self.options = options
    state = Mutex(State())
  }

  /// How the sequence uses its device's memory; nil before the first prefill, and on a CPU.
  public var memoryPlan: MemoryPlan? { state.withLock { $0.cache?.memoryPlan } }

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
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
      try await WorkerThread.run {
        try self.state.withLock { state in
          try self.prefill(
            prompt, state: &state, progress: progress, isCancelled: { cancellation.isSet })
        }
      }
    } onCancel: {
      cancellation.set()
    }
  }

  private func prefill(
    _ prompt: [Int32], state: inout State, progress: (@Sendable (PrefillProgress) -> Void)?,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws -> PrefillReport {
    guard !prompt.isEmpty else { throw LanguageModelError.emptyPrompt }
    var ids = (state.unread.map { [$0] } ?? []) + prompt
    let tokens = (state.cache?.count ?? 0) + ids.count
    guard tokens < model.contextLength else {
      throw LanguageModelError.promptTooLong(tokens: tokens, contextLength: model.contextLength)
    }
    guard tokens <= capacity else {
      throw LanguageModelError.sessionFull(tokens: tokens, capacity: capacity)
    }
    let start = ContinuousClock.now
    let planner = try model.planner(for: options.attention)
    let cache: KeyValueCache
    if let existing = state.cache {
      cache = existing
      if model.transformer.mustReadAgain(cache, adding: ids.count) {
        cache.truncate(to: 0)
        ids = state.history + prompt
      }
    } else {
      cache = try model.transformer.makeCache(
        capacity: capacity, keyValues: options.keyValues, chunk: options.chunk)
      cache.calibratedSelections = options.attention.calibratedSelections
    }
    state.cache = cache
    let setupSeconds = (ContinuousClock.now - start).inSeconds
    let result = try model.transformer.prefill(
      ids, cache: cache,
      options: PrefillOptions(
        planner: planner, chunk: options.chunk, measureRecall: options.measuresRecall,
        monitor: model.monitor(for: options.attention, given: options.monitor),
        lastLayerLastRowOnly: true, progress: progress,
        isCancelled: isCancelled))
    state.history += prompt
    state.unread = nil
    state.logits = result.logits
    state.metrics = GenerationMetrics()
    state.metrics.promptTokens = ids.count
    state.metrics.prefill = result.report
    state.metrics.prefillSeconds = result.report.seconds
    state.metrics.timeToFirstToken = setupSeconds + result.report.seconds
    return result.report
  }
}

/// Set from any thread, read from the one that computes.
final class CancellationFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func set() { flag.store(true, ordering: .relaxed) }
}

extension Duration {
  /// The duration as a number of seconds.
  package var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
