import Compute

extension Transformer {
  /// Reads a prompt, or more of one, and returns the logits of the token after it.
  ///
  /// The tokens come behind those that the cache holds already. Memory beyond the cache: the hidden
  /// states of one chunk and the intermediate results of one block of rows.
  ///
  /// - Throws: ``TransformerError`` before anything is computed, `CancellationError`, what the progress
  ///   callback throws, `ComputeError`. Chunks that were finished before stay in the cache.
  public func prefill(
    _ ids: [Int32], cache: KeyValueCache, options: PrefillOptions = PrefillOptions()
  ) throws -> PrefillResult {
    let run = try makeReading(ids, cache: cache, options: options)
    var last: (tensor: Tensor, values: [Float])?
    try run.finish { hidden, chunk in
      guard chunk == run.chunks.last else { return }
      let logits = try makeLogits(of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      last = (logits, try backend.read(logits))
    }
    guard let last else { throw TransformerError.emptyPrompt }
    return PrefillResult(logits: last.values, deviceLogits: last.tensor, report: run.report)
  }

  /// Reads tokens and shows the logits behind every one of them.
  ///
  /// - Parameters:
  ///   - cache: Gets the keys and values; nil for one that is thrown away.
  ///   - visit: Gets each position, in order, with the logits of the token after it. The logits are
  ///     made for ``scoredRows`` rows at a time, never for the whole text at once.
  /// - Throws: as ``prefill(_:cache:options:)``, and what `visit` throws.
  @discardableResult
  public func score(
    _ ids: [Int32], cache: KeyValueCache? = nil, options: PrefillOptions = PrefillOptions(),
    visit: (_ position: Int, _ logits: ArraySlice<Float>) throws -> Void
  ) throws -> PrefillReport {
    try visitLogits(ids, cache: cache, options: options) { first, logits in
      let values = try backend.read(logits)
      for row in 0..<logits.rows {
        let offset = row * vocabularySize
        try visit(first + row, values[offset..<offset + vocabularySize])
      }
    }
  }

  /// Reads tokens and scores each of them, without moving logits: see
  /// `Backend.scoreTokens(logits:next:)`.
  ///
  /// - Parameter visit: Gets each position in order, with the most likely id after it and, but for the
  ///   last, the natural logarithm of the probability of the one that came.
  /// - Throws: as ``prefill(_:cache:options:)``, and what `visit` throws.
  @discardableResult
  public func scoreTokens(
    _ ids: [Int32], cache: KeyValueCache? = nil, options: PrefillOptions = PrefillOptions(),
    visit: (_ position: Int, _ likeliest: Int32, _ logProbability: Float?) throws -> Void
  ) throws -> PrefillReport {
    let before = cache?.count ?? 0
    return try visitLogits(ids, cache: cache, options: options) { first, logits in
      let next = (first + 1...first + logits.rows).map {
        $0 - before < ids.count ? ids[$0 - before] : -1
      }
      let scores = try backend.scoreTokens(logits: logits, next: next)
      for row in next.indices {
        try visit(
          first + row, scores.likeliest[row], next[row] < 0 ? nil : scores.logProbabilities[row])
      }
    }
  }

  /// - Parameter visit: Gets the first position and the logits of ``scoredRows`` rows at a time.
  private func visitLogits(
    _ ids: [Int32], cache: KeyValueCache?, options: PrefillOptions,
    visit: (_ first: Int, _ logits: Tensor) throws -> Void
  ) throws -> PrefillReport {
    guard !ids.isEmpty else { throw TransformerError.emptyPrompt }
    let cache =
      try cache ?? makeCache(capacity: ids.count, chunk: options.chunk, planner: options.planner)
    let run = try makeReading(ids, cache: cache, options: options, wantsAllRows: true)
    try run.finish { hidden, chunk in
      for start in stride(from: 0, to: hidden.rows, by: scoredRows) {
        if options.isCancelled() { throw CancellationError() }
        let rows = start..<min(start + scoredRows, hidden.rows)
        try visit(chunk.lowerBound + start, try makeLogits(of: hidden.slice(rows: rows)))
      }
    }
    return run.report
  }

  /// Rows whose logits are held at once when a text is scored: 64 on a processor, more where rows
  /// are computed in larger blocks, within 64 MiB.
  public var scoredRows: Int {
    min(max(64, backend.rowBlock / 32), max(64, (16 << 20) / max(1, vocabularySize)))
  }
}
