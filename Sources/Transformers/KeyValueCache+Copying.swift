import Compute

/// Consecutive rows of a cache.
public struct CachedRows {
  public let cache: KeyValueCache
  public let rows: Range<Int>

  public init(_ cache: KeyValueCache, rows: Range<Int>) {
    self.cache = cache
    self.rows = rows
  }
}

extension Transformer {
  /// Whether ``append(_:to:)`` takes rows of such caches: numbers without factors of a sequence's own, that lie
  /// where they are used.
  package func canCopyRows(of cache: KeyValueCache) -> Bool {
    cache.type != .float8 && cache.place == .device
  }

  /// Appends rows of other caches to a cache, bit for bit and without a way over the host. The rotary
  /// frequencies of an empty cache become those of the first source. What static patterns remember is not
  /// copied.
  ///
  /// - Throws: ``TransformerError/foreignCache(detail:)`` for caches that differ in more than their
  ///   capacity, or whose numbers cannot be copied; ``TransformerError/cacheInUse``;
  ///   ``TransformerError/cacheFull(tokens:capacity:)``; `ComputeError`. The target is as before then.
  package func append(_ sources: [CachedRows], to target: KeyValueCache) throws {
    let start = target.count
    let count = sources.reduce(0) { $0 + $1.rows.count }
    for source in sources {
      let (from, to) = (source.cache.extents, target.extents)
      guard canCopyRows(of: source.cache), source.cache.parts.count == target.parts.count,
        source.cache.type == target.type, source.cache.layers == target.layers,
        target.place == source.cache.place, from[0] == to[0], from[2] == to[2],
        source.rows.lowerBound >= 0, source.rows.upperBound <= source.cache.count
      else {
        throw TransformerError.foreignCache(
          detail: "rows \(source.rows) of \(source.cache.count) of "
            + "\(source.cache.type.rawValue) \(from) cannot be copied to "
            + "\(target.type.rawValue) \(to)")
      }
    }
    let sources = sources.filter { !$0.rows.isEmpty }
    guard start + count <= target.capacity else {
      throw TransformerError.cacheFull(tokens: start + count, capacity: target.capacity)
    }
    if start == 0, let length = sources.first?.cache.sequenceLength {
      target.beginRestoring(sequenceLength: length)
    }
    if let distribution {
      do {
        try distribution.append(sources, to: target)
      } catch {
        target.truncate(to: start)
        throw error
      }
      return target.finishRestoring(count: start + count)
    }
    for layer in target.layers {
      try target.withLayer(layer, count: start + count, for: .transfer) { copied in
        var first = start
        for source in sources {
          try copy(source, layer: layer, to: copied, at: first)
          first += source.rows.count
        }
      }
    }
    try backend.finish()
    target.finishRestoring(count: start + count)
  }

  /// Copies rows of a layer to the rows of another one from `start` on.
  private func copy(
    _ source: CachedRows, layer: Int, to copied: KeyValueLayer, at start: Int
  ) throws {
    let cache = source.cache
    try cache.withLayer(layer, count: cache.count, for: .transfer) { kept in
      for (x, y) in [(kept.keys, copied.keys), (kept.values, copied.values)] {
        let (heads, capacity, dim) = (x.shape[0], x.shape[1], x.shape[2])
        let from = x.reshaped([heads * capacity, dim])
        let to = y.reshaped([heads * y.shape[1], dim])
        for head in 0..<heads {
          let first = head * capacity + source.rows.lowerBound
          let target = head * y.shape[1] + start
          let count = source.rows.count
          // All rows of a head as one: they are consecutive in both.
          try backend.gatherRows(
            from.slice(rows: first..<first + count).reshaped([1, count * dim]), rows: [0],
            into: to.slice(rows: target..<target + count).reshaped([1, count * dim]))
        }
      }
    }
  }
}
