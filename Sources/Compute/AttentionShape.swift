internal import Synchronization

/// The fixed sizes of one model's attention.
public struct AttentionShape: Sendable, Hashable {
  /// Query heads; a multiple of ``keyValueHeads``.
  public var queryHeads: Int
  /// Key-value heads. Query head h reads key-value head h / groupSize.
  public var keyValueHeads: Int
  public var headDim: Int
  /// What scores are multiplied with before the softmax; 1 / sqrt(headDim) unless a model differs.
  public var scale: Float
  /// The model's own sliding window: position i sees j with i - window < j <= i. nil: all j <= i.
  public var slidingWindow: Int?

  public init(
    queryHeads: Int, keyValueHeads: Int, headDim: Int, scale: Float? = nil,
    slidingWindow: Int? = nil
  ) {
    precondition(keyValueHeads > 0 && queryHeads % keyValueHeads == 0 && headDim > 0)
    self.queryHeads = queryHeads
    self.keyValueHeads = keyValueHeads
    self.headDim = headDim
    self.scale = scale ?? 1 / Float(headDim).squareRoot()
    self.slidingWindow = slidingWindow
  }

  /// Query heads that share one key-value head.
  public var groupSize: Int { queryHeads / keyValueHeads }

  /// The first key that the query at `position` may see.
  public func firstKey(visibleFrom position: Int) -> Int {
    slidingWindow.map { max(0, position - $0 + 1) } ?? 0
  }
}

/// The keys and values of one layer, as far as they have been written.
public struct KeyValueLayer: Sendable {
  /// [keyValueHeads, capacity, headDim], float32, bfloat16 or float8, after rotary embedding.
  public let keys: Tensor
  /// [keyValueHeads, capacity, headDim], the type of ``keys``.
  public let values: Tensor
  /// Positions 0 ..< count are written; at most ``capacity``.
  public var count: Int {
    didSet { precondition(count >= 0 && count <= capacity) }
  }
  /// What stored numbers are multiplied with, for float8: [2, keyValueHeads] float32, the keys'
  /// factors, then the values'. nil for other types.
  public let scales: Tensor?
  /// Logits of attention sinks, [queryHeads] float32; nil: the model has none.
  ///
  /// A query head's softmax is over its keys and over one more logit, the head's own, whose value is zero. What
  /// attention gives is so much smaller, and the log-sum-exps and the shares of attention that selectors
  /// look at count the sink's mass. Source: transformers, `models/gpt_oss`; Xiao et al., arXiv 2309.17453.
  public var sinks: Tensor?
  /// A number that no other layer of this process has had: copies of this value share it. What a device
  /// keeps that was made from a layer's numbers belongs to one generation, whatever lies at the same
  /// address later.
  package let generation = KeyValueGenerations.next()

  public init(
    keys: Tensor, values: Tensor, count: Int, scales: Tensor? = nil, sinks: Tensor? = nil
  ) {
    self.keys = keys
    self.values = values
    self.count = count
    self.scales = scales
    self.sinks = sinks
    // Kernels read positions below the count without looking at the capacity.
    precondition(count >= 0 && count <= capacity)
  }

  /// Positions for which there is room.
  public var capacity: Int { keys.shape[1] }
}

/// Counts the layers that were made.
private enum KeyValueGenerations {
  private static let count = Atomic<UInt64>(0)

  static func next() -> UInt64 { count.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// How positions turn queries and keys (rotary position embedding).
///
/// Pair p of a head at position i is turned by the angle float32(i) * inverseFrequencies[p]; the
/// product is rounded to float32, as the published models were trained and run.
public struct RotaryEmbedding: Sendable, Hashable {
  /// Which elements form a pair.
  public enum Layout: Sendable, Hashable {
    /// Element p with element p + pairs (Llama, Qwen).
    case halves
    /// Element 2p with element 2p + 1 (GLM).
    case interleaved
  }

  /// One for each pair; 2 * count elements of a head are turned, the rest passes through. Negative
  /// ones turn back.
  public var inverseFrequencies: [Float]
  /// Factor on cosine and sine (YaRN's attention scaling).
  public var attentionScaling: Float
  public var layout: Layout

  public init(
    inverseFrequencies: [Float], attentionScaling: Float = 1, layout: Layout = .halves
  ) {
    self.inverseFrequencies = inverseFrequencies
    self.attentionScaling = attentionScaling
    self.layout = layout
  }
}
