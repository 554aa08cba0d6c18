import Compute
package import SparseAttention

extension Transformer {
  /// Of rows of a cache, how many at the beginning another cache can have in the same memory: all up to the end of a
  /// piece, and none of rows that do not begin the sequence.
  package func shareable(_ rows: CachedRows) -> Int {
    let cache = rows.cache
    // LongRoPE reads a whole sequence again in its cache.
    guard rows.rows.lowerBound == 0, rows.rows.upperBound <= cache.count, cache.parts.isEmpty,
      !rotary.changes(from: 1, to: contextLength)
    else { return 0 }
    return cache.store.shareable(rows.rows.upperBound)
  }

  /// A cache that begins with rows of another one, in the memory of both: neither writes there from now on. What
  /// static patterns remember is not taken over.
  ///
  /// - Parameters:
  ///   - capacity: Prompt tokens and tokens to come, the first ones among them.
  ///   - beginning: Rows of a cache that was made as shareable. ``shareable(_:)`` of them are taken.
  ///   - chunk: Tokens of a prompt that will be read at once; nil: all.
  ///   - planner: What prompts will be read with, as far as that takes memory; nil: dense.
  /// - Throws: ``TransformerError/foreignCache(detail:)`` for rows that cannot be shared; as
  ///   ``makeCache(capacity:keyValues:sequenceLength:chunk:planner:layers:shareable:)``.
  package func makeCache(
    capacity: Int, beginningWith beginning: CachedRows, chunk: Int? = nil,
    planner: AttentionPlanner? = nil
  ) throws -> KeyValueCache {
    let source = beginning.cache
    let count = shareable(beginning)
    guard distribution == nil, count > 0, source.layers == layers else {
      throw TransformerError.foreignCache(
        detail: "rows \(beginning.rows) of \(source.count) cannot be shared")
    }
    guard capacity <= contextLength else {
      throw TransformerError.contextExceeded(tokens: capacity, contextLength: contextLength)
    }
    guard capacity > count else {
      throw TransformerError.cacheFull(tokens: count, capacity: capacity)
    }
    let options = KeyValueOptions(type: source.type, place: source.place)
    let shape = decoder.attention[0]
    let plan = try memoryPlan(
      tokens: capacity, chunk: chunk, wanted: options, planner: planner, layers: layers.count,
      heldBytes: 2 * layers.count * count * shape.keyValueHeads * shape.headDim
        * source.type.byteCount)
    let cache = try KeyValueCache(
      layers: layers, shape: decoder.attention[0], capacity: capacity, options: options,
      sequenceLength: source.sequenceLength, sharing: .beginning(source.store, count: count),
      backend: backend)
    cache.memoryPlan = plan
    return cache
  }
}

/// The memory of several caches: what they have in common counts once.
package struct KeyValueBytes {
  /// Of those that are counted, as long as they are there.
  private var counted: Set<ObjectIdentifier> = []
  package private(set) var count = 0

  package init(of caches: [KeyValueCache] = []) {
    for cache in caches { add(cache) }
  }

  package mutating func add(_ cache: KeyValueCache) {
    for memory in cache.memory where counted.insert(ObjectIdentifier(memory)).inserted {
      count += memory.byteCount
    }
  }
}
