/// What one layer of a model costs on one device: the constants from which chunks are cut, layers are spread
/// and times are predicted.
///
/// A chunk of n tokens behind p others takes, in one layer,
///
///     perChunk + perToken * n + perKey * (p + n) + perPair * pairs
///
/// seconds: pairs are all of n * p + n (n + 1) / 2 when attention is dense, and with sparse attention those
/// that the budget of the chunk's rows allows.
public struct PipelineCosts: Sendable, Hashable {
  /// Linear layers, norms, rotation and the cache, for each token.
  public var perToken: Double
  /// Keys and values of a token in the model's last layer, of which nothing else is computed but for the
  /// prompt's last row.
  public var lastLayerPerToken: Double
  /// One pair of a query and a key, in all heads.
  public var perPair: Double
  /// Launches, the choice of keys, and what the host waits for, for each chunk.
  public var perChunk: Double
  /// Estimation passes over the keys once for each chunk.
  public var perKey: Double
  /// Keys that the rows of a prompt's last chunk compute with sparse attention, tiles counted whole, as the
  /// mean of the heads. Rows of earlier chunks compute the share that their chunk sees of the prompt
  /// (`ChunkBudgets.proportional`).
  public var sparseKeys: Double
  /// Embedding of a token.
  public var embeddingPerToken: Double
  /// Logits of one row.
  public var output: Double
  /// A token's hidden state on its way to the next stage.
  public var linkPerToken: Double
  /// What each copy to the next stage takes beside.
  public var linkDelay: Double

  /// What a device does in a second.
  public struct Device: Sendable, Hashable {
    public var name: String
    /// Multiply-adds of linear layers.
    public var linearRate: Double
    /// Multiply-adds of attention in computed pairs.
    public var attentionRate: Double
    /// Multiply-adds of the scores that estimation looks at.
    public var estimationRate: Double
    /// Bytes of its memory.
    public var memoryRate: Double
    /// Bytes to the next device.
    public var linkRate: Double
    public var linkDelay: Double
    /// Of a layer of a chunk.
    public var perChunk: Double

    /// One H200 of those measured for this project, in bfloat16: 1M tokens of the shape of Llama-3-8B take
    /// 20.7 s in linear layers and 4.8 s in attention; estimation takes 5 ms for a million keys of a layer; a
    /// chunk's copy to another GPU over NVLink runs at 200 GB/s.
    public static let h200 = Device(
      name: "h200", linearRate: 354e12, attentionRate: 300e12, estimationRate: 51e12,
      memoryRate: 4e12, linkRate: 200e9, linkDelay: 20e-6, perChunk: 0.25e-3)
    /// The same with linear layers in eight bits.
    public static let h200Float8 = Device(
      name: "h200-fp8", linearRate: 720e12, attentionRate: 300e12, estimationRate: 51e12,
      memoryRate: 4e12, linkRate: 200e9, linkDelay: 20e-6, perChunk: 0.25e-3)
    /// One core of a processor with AVX-512.
    public static let core = Device(
      name: "core", linearRate: 50e9, attentionRate: 35e9, estimationRate: 10e9,
      memoryRate: 10e9, linkRate: 5e9, linkDelay: 20e-6, perChunk: 0.2e-3)

    public static let all = [h200, h200Float8, core]

    public init(
      name: String, linearRate: Double, attentionRate: Double, estimationRate: Double,
      memoryRate: Double, linkRate: Double, linkDelay: Double, perChunk: Double
    ) {
      self.name = name
      self.linearRate = linearRate
      self.attentionRate = attentionRate
      self.estimationRate = estimationRate
      self.memoryRate = memoryRate
      self.linkRate = linkRate
      self.linkDelay = linkDelay
      self.perChunk = perChunk
    }
  }

  /// The costs of a shape on a device, in bfloat16.
  public init(_ shape: PipelineShape, device: Device, sparseKeys: Double = 10_500) {
    let width = Double(shape.queryHeads * shape.headDim)
    let hiddenBytes = 2 * Double(shape.hiddenSize)
    // Norms, rotation, residuals and the cache read and write about twenty-three rows of hidden states.
    perToken = shape.linearProducts / device.linearRate + 23 * hiddenBytes / device.memoryRate
    let keyValues = Double(2 * shape.keyValueHeads * shape.headDim * shape.hiddenSize)
    lastLayerPerToken = keyValues / device.linearRate + 5 * hiddenBytes / device.memoryRate
    perPair = 2 * width / device.attentionRate
    perChunk = device.perChunk
    // The chunk's last 64 rows score every key.
    perKey = 64 * width / device.estimationRate
    self.sparseKeys = sparseKeys
    embeddingPerToken = 2 * hiddenBytes / device.memoryRate
    output = Double(shape.vocabularySize) * hiddenBytes / device.memoryRate
    linkPerToken = hiddenBytes / device.linkRate
    linkDelay = device.linkDelay
  }

  /// Seconds of one layer for tokens at these positions, read as one chunk.
  ///
  /// - Parameter tokens: The end of the prompt.
  public func layerSeconds(_ chunk: Range<Int>, isSparse: Bool, tokens: Int) -> Double {
    perChunk + perToken * Double(chunk.count)
      + (isSparse ? perKey * Double(chunk.upperBound) : 0)
      + perPair * pairs(chunk, isSparse: isSparse, tokens: tokens)
  }

  /// Seconds of the model's last layer where the output of the prompt's last row alone is wanted.
  public func lastLayerSeconds(_ chunk: Range<Int>) -> Double {
    lastLayerPerToken * Double(chunk.count)
  }

  /// Pairs that one head computes, as the mean of the heads.
  package func pairs(_ chunk: Range<Int>, isSparse: Bool, tokens: Int) -> Double {
    func causal(_ rows: Double) -> Double { rows * (rows + 1) / 2 }
    let (first, end) = (Double(chunk.lowerBound), Double(chunk.upperBound))
    guard isSparse else { return causal(end) - causal(first) }
    let keys = sparseKeys * end / Double(max(1, tokens))
    // A row has no more keys than its own position.
    let from = min(end, max(first, keys))
    return max(0, causal(from) - causal(first)) + keys * (end - from)
  }

  /// Seconds that a chunk's hidden states are on their way to the next stage.
  public func linkSeconds(_ chunk: Range<Int>) -> Double {
    linkDelay + linkPerToken * Double(chunk.count)
  }
}
