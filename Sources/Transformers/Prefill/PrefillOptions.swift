public import Compute
public import SparseAttention

/// How a prompt is read.
public struct PrefillOptions: Sendable {
  /// Which pairs each head computes; nil: all of them (dense attention).
  public var planner: AttentionPlanner?
  /// Tokens a chunk; nil: the whole prompt is one chunk, as in MInference 1.0. Rounded up to a
  /// multiple of the backend's tile rows; chunks are cut at absolute multiples of it.
  public var chunk: Int?
  /// Positions behind which chunks end, ascending, in place of chunks of one size; each is rounded up
  /// to a multiple of the backend's tile rows. Those outside the prompt are left out.
  public var chunkEnds: [Int]?
  /// What budgets mean in a chunk; nil: whole on one device, proportional in a pipeline.
  public var chunkBudgets: ChunkBudgets?
  /// Rows worked on at once within a layer, rounded up likewise. Bounds the memory of activations;
  /// changes no result. nil: what suits the backend.
  public var rowBlock: Int?
  /// Whether to compare sampled rows with dense attention. The time that this takes is in no figure.
  public var measureRecall: Bool
  /// Watches recall while the prefill runs; its time is part of the prefill's. nil: nothing watches.
  public var monitor: RecallMonitor?
  /// In the last layer compute attention and MLP of the prompt's last row alone, densely: the other
  /// rows' are never used when only the next token is wanted. No effect when scoring.
  public var lastLayerLastRowOnly: Bool
  /// Told after every block of rows in every layer; throwing ends the prefill.
  public var progress: (@Sendable (PrefillProgress) throws -> Void)?
  /// Asked before every block of rows; true ends the prefill with `CancellationError`.
  public var isCancelled: @Sendable () -> Bool

  /// Looks at what a head attends to; its time is the prefill's. A stage in another process has none.
  package var observer: HeadObserver?
  /// Stands in for queries and keys; its time is in no figure.
  package var injection: (any QueryKeyInjection)?
  /// The same for each stage of a pipeline, on its device.
  package var stageInjections: [any QueryKeyInjection]?
  /// How a stage of another process makes its own; nil: it computes the model's queries and keys.
  package var injectionRecipe: String?
  /// Whether the report says what the linear layers took.
  package var measuresLinearLayers = false

  public init(
    planner: AttentionPlanner? = nil, chunk: Int? = nil, rowBlock: Int? = nil,
    measureRecall: Bool = false, monitor: RecallMonitor? = nil,
    lastLayerLastRowOnly: Bool = false,
    progress: (@Sendable (PrefillProgress) throws -> Void)? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) {
    self.planner = planner
    self.chunk = chunk
    self.rowBlock = rowBlock
    self.measureRecall = measureRecall
    self.monitor = monitor
    self.lastLayerLastRowOnly = lastLayerLastRowOnly
    self.progress = progress
    self.isCancelled = isCancelled
  }
}

/// How far a prefill has come.
public struct PrefillProgress: Sendable, Equatable {
  /// Share of the work, 0 to 1, attention weighted by what it costs; never goes back.
  public let fraction: Double
  /// Tokens of the prompt.
  public let tokens: Int
  /// Tokens that this share of the work amounts to.
  public var tokensDone: Int { Int(fraction * Double(tokens)) }

  package init(fraction: Double, tokens: Int) {
    self.fraction = fraction
    self.tokens = tokens
  }
}

/// What a prefill gives.
public struct PrefillResult: Sendable {
  /// Logits of the token after the prompt; one for each id of the vocabulary.
  public let logits: [Float]
  /// The same, where the backend computes: [1, vocabulary] float32.
  public let deviceLogits: Tensor
  public let report: PrefillReport
}
