public import Compute
public import SparseAttention
public import Transformers

extension LayerPipeline {
  /// Keys and values are kept in one format on all stages: the most exact one that fits each of them.
  public func makeCache(
    capacity: Int, keyValues: KeyValueOptions, sequenceLength: Int?, chunk: Int?,
    planner: AttentionPlanner?
  ) throws -> KeyValueCache {
    var request = CacheRequest(
      capacity: capacity, keyValues: keyValues, sequenceLength: sequenceLength,
      chunk: chunk ?? largestChunk(of: capacity, isSparse: planner != nil), planner: planner)
    let plans = try stages.map { try $0.plan(request) }
    if let chosen = plans.compactMap({ $0 }).max(by: { $0.economy < $1.economy }) {
      request.keyValues = chosen
    }
    let parts = try stages.map { try $0.makeCache(request) }
    let cache = try KeyValueCache(parts: parts)
    cache.describePlans(of: stages.map(\.name))
    return cache
  }

  public func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer {
    try requireParts(of: cache)
    guard let stage = stages.firstIndex(where: { $0.layers.contains(layer) }) else {
      throw TransformerError.missingPart(what: "layer \(layer)")
    }
    return try stages[stage].makeTransfer(
      layer: layer, of: cache.parts[stage], count: count, for: purpose)
  }

  public func append(_ sources: [CachedRows], to target: KeyValueCache) throws {
    try requireParts(of: target)
    for source in sources { try requireParts(of: source.cache) }
    for (number, stage) in stages.enumerated() {
      try workers[number].run {
        try stage.append(
          sources.map { CachedRows($0.cache.parts[number], rows: $0.rows) },
          to: target.parts[number])
      }
    }
  }

  private func largestChunk(of tokens: Int, isSparse: Bool) -> Int {
    [true, false].flatMap { lastRowOnly in
      let ends =
        [0] + chunkEnds(of: 0..<tokens, isSparse: isSparse, lastRowOnly: lastRowOnly) + [tokens]
      return zip(ends, ends.dropFirst()).map { $1 - $0 }
    }.max() ?? tokens
  }
}

extension KeyValueOptions {
  /// How far a choice goes in saving the device's memory.
  fileprivate var economy: Int { (place == .host ? 2 : 0) + (type == .float8 ? 1 : 0) }
}
