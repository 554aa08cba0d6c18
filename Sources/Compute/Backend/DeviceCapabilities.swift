import StoredNumbers

/// What a device can do and how it wants to be used: a value, decided when the device is opened.
public struct DeviceCapabilities: Sendable, Hashable {
  /// The type of hidden states, queries, gates, and keys and values before they are stored.
  public var activationType: DataType
  /// The type of what goes into the linear layers of a layer: the activations' type, or narrower.
  public var linearInputType: DataType
  /// What activations are rounded to where many rows are multiplied with bfloat16 weights: their own type where
  /// they are not. Keys and values that differ by it are those of different models.
  public var bfloat16ProductType: DataType
  /// Whether activations become integers of eight bits, with a scale for every 32, where any number of rows is
  /// multiplied with weights in blocks.
  public var roundsForBlocks: Bool
  /// Formats of stored weights that the device multiplies by, or converts when a model is loaded.
  public var weightFormats: Set<TensorFormat>
  /// Head sizes that attention has kernels for; nil: any.
  public var headSizes: Set<Int>?
  /// What the attention kernel computes as a unit, for heads of any size.
  public var tile: TileShape
  /// Rows of activations that are best worked on at once.
  public var rowBlock: Int
  /// Whether the device computes in the host's memory.
  public var hasUnifiedMemory: Bool
  /// What ``AttentionOperations/attention(q:firstPosition:layer:shape:index:into:logSumExp:)``
  /// multiplies.
  public var attentionPrecision: AttentionPrecision
  /// Bytes that attention of many rows takes beside its tensors, for each element of a stored key.
  public var attentionBytesPerKeyElement: Int
  /// The most rows that ``EstimationOperations/lastRowSums(q:firstPosition:layer:shape:heads:)``
  /// takes.
  public var estimationRows: Int
  /// Whether ``EstimationOperations/makeIndex(_:)`` estimates, selects and builds indices on the
  /// device. Without it the host selects from what the estimation operations give.
  public var buildsIndices: Bool
  /// Bytes of scores that are made at a time where block-sparse heads are selected on the device: enough to
  /// keep it busy (``BlockIndexSizes``).
  public var blockScoreBytes = 0
  /// What the device chooses bands by; nil: it makes none that begin anywhere.
  package var bandTimes: BandCover.Times?

  public init(
    activationType: DataType, linearInputType: DataType? = nil,
    bfloat16ProductType: DataType? = nil, roundsForBlocks: Bool = false,
    weightFormats: Set<TensorFormat> = Self.denseWeightFormats, headSizes: Set<Int>? = nil,
    tile: TileShape, rowBlock: Int,
    hasUnifiedMemory: Bool, attentionPrecision: AttentionPrecision = .native,
    attentionBytesPerKeyElement: Int = 0, estimationRows: Int = Self.standardEstimationRows,
    buildsIndices: Bool = false
  ) {
    self.activationType = activationType
    self.linearInputType = linearInputType ?? activationType
    self.bfloat16ProductType = bfloat16ProductType ?? activationType
    self.roundsForBlocks = roundsForBlocks
    self.weightFormats = weightFormats
    self.headSizes = headSizes
    self.tile = tile
    self.rowBlock = rowBlock
    self.hasUnifiedMemory = hasUnifiedMemory
    self.attentionPrecision = attentionPrecision
    self.attentionBytesPerKeyElement = attentionBytesPerKeyElement
    self.estimationRows = estimationRows
    self.buildsIndices = buildsIndices
  }

  /// The dense float formats.
  public static let denseWeightFormats: Set<TensorFormat> = [
    .dense(.float32), .dense(.float16), .dense(.bfloat16),
  ]

  /// The dense float formats, blocks of every kind, and matrices of float8 with a scale for each block.
  public static let allWeightFormats = denseWeightFormats.union(
    BlockFormat.allCases.map { TensorFormat.blocks($0) } + [TensorFormat.dense(.float8)])

  /// Whether inputs of linear layers are held in tensors of their own, narrower than activations.
  public var hasNarrowLinearInputs: Bool { linearInputType != activationType }

  /// Whether activations are narrower in products with bfloat16 weights alone.
  public var roundsForBFloat16Weights: Bool { bfloat16ProductType != activationType }

  /// Last rows of a chunk that estimation looks at. Source: MInference, section 3.2.
  public static let standardEstimationRows = 64

  /// The same for a device that builds indices, with what it builds them by.
  package func building(
    bandTimes: BandCover.Times, blockScoreBytes: Int
  ) -> DeviceCapabilities {
    var capabilities = self
    capabilities.buildsIndices = true
    capabilities.bandTimes = bandTimes
    capabilities.blockScoreBytes = blockScoreBytes
    return capabilities
  }

  /// The tile for heads of `headDim` elements.
  public func tile(headDim: Int) -> TileShape { tile }

  /// Bytes that attention of many rows takes for each key of a layer, beside its tensors.
  public func attentionBytesPerKey(_ shape: AttentionShape) -> Int {
    attentionBytesPerKeyElement * shape.keyValueHeads * shape.headDim
  }
}
