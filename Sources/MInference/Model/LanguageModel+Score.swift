public import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a model thinks of a text, token by token.
public struct TextScore: Sendable {
  /// Natural logarithm of the probability of each token after the first, given those before it.
  public var logProbabilities: [Float] = []
  /// The most likely id after each token.
  public var mostLikely: [Int32] = []
  public var report: PrefillReport

  /// exp of the mean negative log-probability; nil for a single token.
  public var perplexity: Double? {
    guard !logProbabilities.isEmpty else { return nil }
    let sum = logProbabilities.reduce(0.0) { $0 + Double($1) }
    return exp(-sum / Double(logProbabilities.count))
  }
}

extension LanguageModel {
  /// Scores a text of at most ``contextLength`` tokens.
  ///
  /// Memory grows with the text by two numbers a token: logits are made for a few rows at a time.
  ///
  /// - Throws: as ``Session/prefill(_:progress:)``.
  public func score(
    _ ids: [Int32], options: SessionOptions = SessionOptions(),
    progress: (@Sendable (PrefillProgress) -> Void)? = nil
  ) async throws -> TextScore {
    let cancellation = CancellationFlag()
    return try await withTaskCancellationHandler {
      try await WorkerThread.run {
        try self.score(ids, options, progress: progress, isCancelled: { cancellation.isSet })
      }
    } onCancel: {
      cancellation.set()
    }
  }

  private func score(
    _ ids: [Int32], _ options: SessionOptions,
    progress: (@Sendable (PrefillProgress) -> Void)?, isCancelled: @escaping @Sendable () -> Bool
  ) throws -> TextScore {
    guard !ids.isEmpty else { throw LanguageModelError.emptyPrompt }
    guard ids.count <= contextLength else {
      throw LanguageModelError.promptTooLong(tokens: ids.count, contextLength: contextLength)
    }
    let planner = try planner(for: options.attention)
    let cache = try transformer.makeCache(
      capacity: ids.count, keyValues: options.keyValues, chunk: options.chunk,
      planner: planner)
    cache.calibratedSelections = options.attention.calibratedSelections
    var logProbabilities: [Float] = []
    var mostLikely: [Int32] = []
    logProbabilities.reserveCapacity(ids.count - 1)
    mostLikely.reserveCapacity(ids.count)
    var prefill = PrefillOptions(
      planner: planner, chunk: options.chunk, measureRecall: options.measuresRecall,
      monitor: options.monitor, progress: progress, isCancelled: isCancelled)
    prefill.chunkBudgets = options.chunkBudgets
    let report = try transformer.scoreTokens(ids, cache: cache, options: prefill) {
      _, likeliest, logProbability in
      mostLikely.append(likeliest)
      if let logProbability { logProbabilities.append(logProbability) }
    }
    try verifyWeights()
    return TextScore(
      logProbabilities: logProbabilities, mostLikely: mostLikely, report: report)
  }
}
