public import SparseAttention

/// What a prefill did and where its time went.
public struct PrefillReport: Sendable {
  /// Tokens read.
  public var tokens = 0
  /// Tokens in front of them whose keys and values the cache held already.
  public var reusedTokens = 0
  /// Chunks in which they were read.
  public var chunks = 0
  /// Seconds in all, without those spent on measuring recall.
  public var seconds = 0.0
  /// Of these, estimating and building indices (with the queries that only estimation needs).
  public var indexSeconds = 0.0
  /// Of these, the attention kernel.
  public var kernelSeconds = 0.0
  /// The linear layers alone; nil unless it was asked for.
  public var linearSeconds: Double?
  /// Of these, the rest: linear layers, norms, rotation, the cache.
  public var otherSeconds: Double {
    max(0, seconds - indexSeconds - kernelSeconds - (monitor?.seconds ?? 0))
  }
  /// [layer][head], pairs of a query and a key that attention computed.
  public var computedPairs: [[Int]]
  /// [layer][head], pairs that dense attention would have computed for the same rows.
  public var causalPairs: [[Int]]
  /// Recall of sampled rows; nil unless it was asked for, and with dense attention.
  public var recall: RecallSummary?
  /// The same for each head, [layer][head].
  public var headRecalls: [[HeadRecall?]]?
  /// What the monitor saw; nil without one, and with dense attention.
  public var monitor: MonitorReport?
  /// Heads that were to be sparse and were computed densely, but for those that the monitor found.
  public var denseFallbacks: [DenseFallback] = []

  /// Computed / causal pairs over all layers, heads and chunks.
  public var density: Double {
    let causal = causalPairs.joined().reduce(0.0) { $0 + Double($1) }
    return causal == 0 ? 1 : computedPairs.joined().reduce(0.0) { $0 + Double($1) } / causal
  }

  /// [layer][head]
  public var headDensities: [[Double]] {
    zip(computedPairs, causalPairs).map { computed, causal in
      zip(computed, causal).map { $1 == 0 ? 1 : Double($0) / Double($1) }
    }
  }

  package init(layers: Int, heads: Int) {
    computedPairs = Array(repeating: Array(repeating: 0, count: heads), count: layers)
    causalPairs = computedPairs
  }
}

/// A head that a plan wanted sparse and that was computed densely in one chunk.
public struct DenseFallback: Sendable, Hashable {
  public let layer: Int
  public let head: Int
  /// The chunk's first position.
  public let firstPosition: Int
  public let reason: String

  package init(layer: Int, head: Int, firstPosition: Int, reason: String) {
    self.layer = layer
    self.head = head
    self.firstPosition = firstPosition
    self.reason = reason
  }
}
