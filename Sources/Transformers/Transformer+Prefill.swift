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
    try validate(ids, for: cache)
    var run = try PrefillRun(
      self, tokens: ids.count, cache: cache, options: options, wantsAllRows: false)
    var last: [Float] = []
    let end = cache.count + ids.count
    try run.read(ids) { hidden, chunk in
      if chunk.upperBound == end {
        last = try logits(of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      }
    }
    return PrefillResult(logits: last, report: run.report)
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
    guard !ids.isEmpty else { throw TransformerError.emptyPrompt }
    let cache = try cache ?? makeCache(capacity: ids.count)
    try validate(ids, for: cache)
    var run = try PrefillRun(
      self, tokens: ids.count, cache: cache, options: options, wantsAllRows: true)
    try run.read(ids) { hidden, chunk in
      for start in stride(from: 0, to: hidden.rows, by: Self.scoredRows) {
        if options.isCancelled() { throw CancellationError() }
        let rows = start..<min(start + Self.scoredRows, hidden.rows)
        let values = try logits(of: hidden.slice(rows: rows))
        for row in rows {
          let offset = (row - start) * vocabularySize
          try visit(chunk.lowerBound + row, values[offset..<offset + vocabularySize])
        }
      }
    }
    return run.report
  }

  /// Rows whose logits ``score(_:cache:options:visit:)`` holds at once.
  public static var scoredRows: Int { 64 }
}
