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

  private func largestChunk(of tokens: Int, isSparse: Bool) -> Int {
    let ends = [0] + chunkEnds(of: 0..<tokens, isSparse: isSparse) + [tokens]
    return zip(ends, ends.dropFirst()).map { $1 - $0 }.max() ?? tokens
  }
}

extension KeyValueOptions {
  /// How far a choice goes in saving the device's memory.
  fileprivate var economy: Int { (place == .host ? 2 : 0) + (type == .float8 ? 1 : 0) }
}
