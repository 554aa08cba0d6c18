import Compute

extension Transformer {
  /// Whether ``copyPrefix(of:to:count:)`` takes such caches: numbers of the activations' type, or
  /// float32, that lie where they are used.
  package func canCopyPrefix(of cache: KeyValueCache) -> Bool {
    if let distribution { return distribution.canCopyPrefix(of: cache) }
    return cache.parts.isEmpty
      && (cache.type == .float32 || cache.type == backend.activationType) && cache.place == .device
  }

  /// Gives an empty cache the first `count` positions of another one, bit for bit and without a way
  /// over the host. The rotary frequencies are those of the source. What static patterns remember is not
  /// copied.
  ///
  /// - Throws: ``TransformerError/foreignCache(detail:)`` for caches that differ in more than their
  ///   capacity, or whose numbers cannot be copied; ``TransformerError/cacheInUse``;
  ///   ``TransformerError/cacheFull(tokens:capacity:)``; `ComputeError`, after which the target is empty.
  package func copyPrefix(of source: KeyValueCache, to target: KeyValueCache, count: Int) throws {
    if let distribution {
      return try distribution.copyPrefix(of: source, to: target, count: count)
    }
    let (from, to) = (source.extents, target.extents)
    guard canCopyPrefix(of: source), target.parts.isEmpty, source.type == target.type,
      source.layers == target.layers,
      target.place == source.place, from[0] == to[0], from[2] == to[2], target.count == 0,
      count <= source.count, let sequenceLength = source.sequenceLength
    else {
      throw TransformerError.foreignCache(
        detail: "\(count) positions of \(source.type.rawValue) \(from) cannot be copied to "
          + "\(target.type.rawValue) \(to)")
    }
    guard count <= target.capacity else {
      throw TransformerError.cacheFull(tokens: count, capacity: target.capacity)
    }
    target.beginRestoring(sequenceLength: sequenceLength)
    for layer in source.layers {
      try source.withLayer(layer, count: source.count, for: .transfer) { kept in
        try target.withLayer(layer, count: count, for: .transfer) { copied in
          for (x, y) in [(kept.keys, copied.keys), (kept.values, copied.values)] {
            let x = x.reshaped([from[0] * from[1], from[2]])
            let y = y.reshaped([to[0] * to[1], to[2]])
            for head in 0..<from[0] {
              let first = head * from[1]
              let start = head * to[1]
              try backend.gatherRows(
                x, rows: Array(Int32(first)..<Int32(first + count)),
                into: y.slice(rows: start..<start + count))
            }
          }
        }
      }
    }
    try backend.finish()
    target.finishRestoring(count: count)
  }
}
