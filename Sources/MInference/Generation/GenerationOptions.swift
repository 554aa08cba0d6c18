public import Compute
public import Transformers

/// How a sequence is kept and how its prompts are read.
public struct SessionOptions: Sendable {
  /// Which pairs of queries and keys prefill computes.
  public var attention: AttentionOptions
  /// How keys and values are kept, and where; the device's own choice by default.
  public var keyValues: KeyValueOptions
  /// Tokens of a prompt read at once; nil: all of them, as in MInference 1.0.
  public var chunk: Int?
  /// What budgets mean in a chunk; nil: whole on one device, proportional in a pipeline.
  public var chunkBudgets: ChunkBudgets?
  /// Whether prefill also measures recall on sampled rows; its time is in no figure.
  public var measuresRecall: Bool
  /// Estimates recall while a prompt is read, and may compute weak heads densely; nil: not watched.
  public var monitor: RecallMonitor?

  public init(
    attention: AttentionOptions = AttentionOptions(),
    keyValues: KeyValueOptions = KeyValueOptions(),
    chunk: Int? = nil, measuresRecall: Bool = false, monitor: RecallMonitor? = nil
  ) {
    self.attention = attention
    self.keyValues = keyValues
    self.chunk = chunk
    self.measuresRecall = measuresRecall
    self.monitor = monitor
  }
}

/// How an answer is made.
public struct GenerationOptions: Sendable {
  public var maximumTokens: Int
  /// nil: what the checkpoint's generation_config.json asks for.
  public var sampling: SamplingOptions?
  /// The answer ends before the first of these.
  public var stopStrings: [String]
  /// Told while the whole sequence is read again, since it outgrew the original length of LongRoPE.
  public var progress: (@Sendable (PrefillProgress) -> Void)?

  public init(
    maximumTokens: Int = 512, sampling: SamplingOptions? = nil, stopStrings: [String] = [],
    progress: (@Sendable (PrefillProgress) -> Void)? = nil
  ) {
    self.progress = progress
    self.maximumTokens = maximumTokens
    self.sampling = sampling
    self.stopStrings = stopStrings
  }
}
