public import Compute
public import SparseAttention

/// How a sequence will use a device's memory: one choice for all buffers, made from the model, the
/// length and what is free, before anything starts.
///
/// A pure value. Keys and values stay on the device in the activations' type if they fit; else as
/// float8; else as float8 in the host's memory, layer by layer. The hidden states of the prompt, one
/// layer's keys and values, and the activations of a block of rows are always on the device.
public struct MemoryPlan: Sendable, Equatable {
  /// What keys and values are kept as, and where.
  public let keyValues: KeyValueOptions
  /// Bytes of the device that the sequence will take beside the weights.
  public let deviceBytes: Int
  /// Bytes of page-locked host memory.
  public let hostBytes: Int
  /// Bytes of keys and values, wherever they lie.
  public let keyValueBytes: Int
  /// Whether queries that estimation makes are kept for attention; otherwise they are made twice.
  public let keepsQueries: Bool

  /// What the device's bytes are for.
  public let parts: Parts

  /// What each device of a pipeline takes, in the order of the stages; empty for one device.
  public internal(set) var stages: [Stage] = []

  /// Bytes of the device by what they are for; each part mirrors the allocations that it names.
  public struct Parts: Sendable, Equatable {
    /// The layers that stay on the device; of a cache on the host, the two that pass through.
    public internal(set) var keyValues = 0
    /// One layer in the activations' type, where keys and values are kept as float8.
    public internal(set) var staging = 0
    /// Hidden states of a chunk.
    public internal(set) var hiddenStates = 0
    /// Queries of a chunk, where estimation makes them and they are kept for attention.
    public internal(set) var queries = 0
    /// The activations of a block of rows (`RowWorkspace`).
    public internal(set) var activations = 0
    /// What goes into linear layers in eight bits.
    public internal(set) var linearInputs = 0
    /// The rows of a block at their experts (`ExpertWorkspace`).
    public internal(set) var experts = 0
    /// Outputs and log-sum-exps of regions of dual chunk attention, for a block of rows.
    public internal(set) var regions = 0
    /// Sums and lists of estimated heads (`EstimatedIndexSizes`).
    public internal(set) var estimation = 0
    /// Means, scores and lists of block-sparse heads (`BlockIndexSizes`).
    public internal(set) var blockSelection = 0
    /// Sums and lists of heads that choose blocks by their shares (`ShareIndexSizes`).
    public internal(set) var blockChoices = 0
    /// What attention takes for each key beside its tensors, and for each row where heads have sinks.
    public internal(set) var attention = 0
    /// Logits of one row.
    public internal(set) var logits = 0
    /// The libraries' own buffers, and pieces between tensors.
    public internal(set) var reserve = 0

    public var sum: Int {
      keyValues + staging + hiddenStates + queries + activations + linearInputs + experts
        + regions + estimation + blockSelection + blockChoices + attention + logits + reserve
    }
  }

  /// What is free.
  public struct Available: Sendable, Equatable {
    public var deviceBytes: Int
    public var hostBytes: Int

    public init(deviceBytes: Int, hostBytes: Int) {
      self.deviceBytes = deviceBytes
      self.hostBytes = hostBytes
    }
  }

  /// The sizes that decide.
  public struct Sizes: Sendable, Equatable {
    public var layers: Int
    public var hiddenSize: Int
    public var intermediateSize: Int
    public var vocabularySize: Int
    public var attention: AttentionShape
    /// Bytes of an activation.
    public var activationBytes: Int
    /// Rows that are worked on at once.
    public var rowBlock: Int
    /// Whether what goes into linear layers is kept in eight bits beside the activations.
    public var hasNarrowInputs: Bool
    /// Bytes that attention takes for each key beside its tensors.
    public var attentionBytesPerKey: Int
    /// Block-sparse heads of the layer with most of them, and the most blocks that any takes.
    public var blockSparseHeads: Int
    public var blockSparseTopK: Int
    /// Bytes of their scores that are made at a time.
    public var blockScoreBytes = 0
    /// Heads that choose blocks by their shares, in the layer with most of them, and what any head scores.
    public var chosenBlockHeads = 0
    public var shareSources: Set<ShareSource> = []
    /// How experts are chosen, and the intermediate size of one; nil: there are none.
    public var routing: RoutingRule?
    public var expertSize = 0
    /// Whether heads have sinks, which are added by the log-sum-exps of a block of rows.
    public var hasSinks = false
    /// Positions of a chunk of dual chunk attention; nil: the model has none.
    public var dualChunkStride: Int?

    public init(
      layers: Int, hiddenSize: Int, intermediateSize: Int, vocabularySize: Int,
      attention: AttentionShape, activationBytes: Int, rowBlock: Int,
      hasNarrowInputs: Bool = false, attentionBytesPerKey: Int = 0, blockSparseHeads: Int = 0,
      blockSparseTopK: Int = 0
    ) {
      self.layers = layers
      self.hiddenSize = hiddenSize
      self.intermediateSize = intermediateSize
      self.vocabularySize = vocabularySize
      self.attention = attention
      self.activationBytes = activationBytes
      self.rowBlock = rowBlock
      self.hasNarrowInputs = hasNarrowInputs
      self.attentionBytesPerKey = attentionBytesPerKey
      self.blockSparseHeads = blockSparseHeads
      self.blockSparseTopK = blockSparseTopK
    }
  }

  /// Room for the libraries' own buffers and for pieces between tensors.
  static let reserve = 768 << 20

  /// The plan for `tokens` positions of which `chunk` are read at once.
  ///
  /// - Parameter wanted: What the user decided already; the rest is chosen.
  /// - Throws: ``TransformerError/doesNotFit`` with the longest length that does.
  public init(
    _ sizes: Sizes, tokens: Int, chunk: Int?, wanted: KeyValueOptions, available: Available
  ) throws {
    guard
      let plan = Self.choices(wanted).lazy.flatMap({ keyValues in
        // Rather queries made twice than keys and values of fewer bits or elsewhere.
        [true, false].lazy.map {
          MemoryPlan(
            sizes, tokens: tokens, chunk: chunk, keyValues: keyValues, keepsQueries: $0)
        }
      }).first(where: { $0.fits(available, wanted: wanted) })
    else {
      let smallest = MemoryPlan(
        sizes, tokens: tokens, chunk: chunk, keyValues: Self.smallest(wanted), keepsQueries: false)
      throw TransformerError.doesNotFit(
        tokens: tokens,
        longest: Self.longest(sizes, below: tokens, chunk: chunk, wanted: wanted, available),
        detail:
          "\(smallest), of which \(available.deviceBytes >> 20) MiB and \(available.hostBytes >> 20) MiB are free"
      )
    }
    self = plan
  }

  private init(
    _ sizes: Sizes, tokens: Int, chunk: Int?, keyValues: KeyValueOptions, keepsQueries: Bool
  ) {
    let widths = RowWidths(
      hidden: sizes.hiddenSize, intermediate: sizes.intermediateSize, attention: sizes.attention,
      experts: sizes.routing.map { ($0, sizes.expertSize) })
    let rows = min(chunk ?? tokens, tokens, sizes.dualChunkStride ?? tokens)
    let block = min(rows, sizes.rowBlock)
    let layerElements = 2 * widths.keyValue * tokens
    let isQuantized = keyValues.type == .float8
    let layerBytes = layerElements * (isQuantized ? 1 : sizes.activationBytes)
    var parts = Parts()
    parts.keyValues = (keyValues.place == .host ? 2 : sizes.layers) * layerBytes
    parts.staging = isQuantized ? layerElements * sizes.activationBytes : 0
    parts.hiddenStates = rows * sizes.hiddenSize * sizes.activationBytes
    let estimatesFromQueries = sizes.blockSparseHeads > 0 || sizes.chosenBlockHeads > 0
    self.keepsQueries = keepsQueries && estimatesFromQueries
    parts.queries = self.keepsQueries ? rows * widths.query * sizes.activationBytes : 0
    parts.activations = block * widths.activations * sizes.activationBytes
    parts.linearInputs = sizes.hasNarrowInputs ? block * widths.narrowInputBytes : 0
    parts.experts = widths.expertBytes(
      rows: block, activationBytes: sizes.activationBytes, hasNarrowInputs: sizes.hasNarrowInputs)
    if let stride = sizes.dualChunkStride, tokens > stride {
      // Of all regions so far, and, where there are more than two, of one.
      let outputs = (tokens > 2 * stride ? 2 : 1) * widths.query * sizes.activationBytes
      parts.regions =
        block * (outputs + 2 * sizes.attention.queryHeads * DataType.float32.byteCount)
    }
    parts.estimation = sizes.attention.queryHeads * EstimatedIndexSizes(keys: tokens).bytes
    if sizes.blockSparseHeads > 0 {
      parts.blockSelection = BlockIndexSizes(
        heads: sizes.blockSparseHeads, topK: sizes.blockSparseTopK, firstPosition: tokens - rows,
        rows: rows, scoreBytes: sizes.blockScoreBytes
      ).bytes(shape: sizes.attention)
    }
    parts.blockChoices =
      sizes.shareSources.map {
        ShareIndexSizes(
          heads: sizes.chosenBlockHeads, source: $0, firstPosition: tokens - rows, rows: rows
        ).bytes(shape: sizes.attention)
      }.max() ?? 0
    parts.attention =
      sizes.attentionBytesPerKey * tokens
      + (sizes.hasSinks
        ? block * sizes.attention.queryHeads * DataType.float32.byteCount : 0)
    parts.logits = sizes.vocabularySize * DataType.float32.byteCount
    parts.reserve = Self.reserve
    self.keyValues = keyValues
    self.parts = parts
    keyValueBytes = sizes.layers * layerBytes
    hostBytes = keyValues.place == .host ? keyValueBytes : 0
    deviceBytes = parts.sum
  }

  init(
    keyValues: KeyValueOptions, deviceBytes: Int, hostBytes: Int, keyValueBytes: Int,
    keepsQueries: Bool, parts: Parts, stages: [Stage]
  ) {
    self.keyValues = keyValues
    self.deviceBytes = deviceBytes
    self.hostBytes = hostBytes
    self.keyValueBytes = keyValueBytes
    self.keepsQueries = keepsQueries
    self.parts = parts
    self.stages = stages
  }

  private func fits(_ available: Available) -> Bool {
    deviceBytes <= available.deviceBytes && hostBytes <= available.hostBytes
  }

  /// The same where the user has chosen the host: who knows better than a count of free pages.
  private func fits(_ available: Available, wanted: KeyValueOptions) -> Bool {
    wanted.place == .host ? deviceBytes <= available.deviceBytes : fits(available)
  }

  /// From the most exact to the smallest.
  private static func choices(_ wanted: KeyValueOptions) -> [KeyValueOptions] {
    let all = [
      KeyValueOptions(type: .bfloat16, place: .device),
      KeyValueOptions(type: .float8, place: .device),
      KeyValueOptions(type: .float8, place: .host),
      KeyValueOptions(type: .bfloat16, place: .host),
    ]
    return all.filter {
      (wanted.type ?? $0.type) == $0.type && (wanted.place ?? $0.place) == $0.place
        // The last is there only for those who ask for it.
        && ($0.type == .float8 || $0.place == .device || wanted.type == .bfloat16)
    }
  }

  private static func smallest(_ wanted: KeyValueOptions) -> KeyValueOptions {
    choices(wanted).last ?? wanted
  }

  private static func longest(
    _ sizes: Sizes, below tokens: Int, chunk: Int?, wanted: KeyValueOptions, _ available: Available
  ) -> Int {
    var low = 0
    var high = tokens
    while high - low > 1 {
      let middle = (low + high) / 2
      let fits = choices(wanted).contains {
        MemoryPlan(
          sizes, tokens: middle, chunk: chunk, keyValues: $0, keepsQueries: false
        ).fits(available, wanted: wanted)
      }
      if fits { low = middle } else { high = middle }
    }
    return low
  }
}

extension MemoryPlan: CustomStringConvertible {
  /// "keys and values float8 on the host; 30.1 GiB of the GPU, 64.0 GiB of page-locked memory".
  public var description: String {
    func gibibytes(_ bytes: Int) -> String {
      let tenths = (bytes + (1 << 30) / 20) / ((1 << 30) / 10)
      return "\(tenths / 10).\(tenths % 10) GiB"
    }
    let place = keyValues.place == .host ? "in host memory" : "on the device"
    let devices =
      stages.isEmpty
      ? "\(gibibytes(deviceBytes)) of the device"
      : stages.map { "\(gibibytes($0.deviceBytes)) of \($0.name)" }.joined(separator: ", ")
    return "keys and values \(keyValues.type?.rawValue ?? "") \(place); " + devices
      + (hostBytes > 0 ? ", \(gibibytes(hostBytes)) of page-locked memory" : "")
  }
}

extension Transformer {
  /// The plan for a sequence on this model's device; nil where the device has no memory of its own.
  ///
  /// - Parameters:
  ///   - planner: What prompts will be read with; nil: dense, or without block-sparse heads.
  ///   - layers: How many of the model's layers keep their keys and values there; nil: all.
  ///   - heldBytes: What the device has of the keys and values already.
  /// - Throws: ``TransformerError/doesNotFit``.
  public func memoryPlan(
    tokens: Int, chunk: Int?, wanted: KeyValueOptions, planner: AttentionPlanner? = nil,
    layers: Int? = nil, heldBytes: Int = 0
  ) throws -> MemoryPlan? {
    guard let available = try backend.availableMemory() else { return nil }
    let blockSparse = planner?.configuration.blockSparse ?? (heads: 0, topK: 0)
    var sizes = MemoryPlan.Sizes(
      layers: layers ?? decoder.layers, hiddenSize: decoder.hiddenSize,
      intermediateSize: decoder.intermediateSize, vocabularySize: vocabularySize,
      attention: decoder.attention[0], activationBytes: backend.activationType.byteCount,
      rowBlock: backend.rowBlock, hasNarrowInputs: backend.capabilities.hasNarrowLinearInputs,
      attentionBytesPerKey: decoder.attention.map(
        backend.capabilities.attentionBytesPerKey
      ).max() ?? 0,
      blockSparseHeads: blockSparse.heads, blockSparseTopK: blockSparse.topK)
    sizes.routing = decoder.experts?.rule
    sizes.expertSize = decoder.experts?.width ?? 0
    sizes.hasSinks = decoder.hasSinks
    sizes.dualChunkStride = decoder.dualChunk?.stride
    sizes.blockScoreBytes = backend.capabilities.blockScoreBytes
    if let chosen = planner?.configuration.chosenBlocks {
      sizes.chosenBlockHeads = chosen.heads
      sizes.shareSources = chosen.sources
    }
    return try MemoryPlan(
      sizes, tokens: tokens, chunk: chunk, wanted: wanted,
      available: MemoryPlan.Available(
        deviceBytes: available.device + heldBytes, hostBytes: available.host))
  }
}
