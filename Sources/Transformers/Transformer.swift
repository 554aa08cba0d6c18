public import Checkpoints
public import Compute
public import SparseAttention

/// A decoder model on a backend: the weights and what can be done with them.
///
/// The model itself never changes, so any number of sequences may run on it at once; what belongs to
/// a sequence is in its ``KeyValueCache``.
public final class Transformer: Sendable {
  /// The checkpoint's config.json.
  public let configuration: ModelConfiguration
  public let backend: any Backend
  /// How positions turn queries and keys.
  public let rotary: RotaryScaling
  let decoder: DecoderConfiguration
  let weights: DecoderWeights
  /// The devices that hold the layers; nil: ``backend`` holds them.
  public let distribution: (any LayerDistribution)?

  /// Loads a checkpoint: looks up its family, finds and checks every tensor (missing, misshapen, NaN
  /// or infinite), and hands them to the backend, which reads them where they are mapped.
  ///
  /// - Parameters:
  ///   - part: What of the model is loaded; nil: all.
  ///   - progress: Told the share of these weights that were taken, 0 to 1.
  /// - Throws: ``TransformerError``, `CheckpointError` or `ComputeError`.
  public init(
    checkpoint: any WeightSource, backend: any Backend, part: DecoderPart? = nil,
    progress: ((Double) -> Void)? = nil
  ) throws {
    let family = try DecoderFamily.of(checkpoint)
    configuration = checkpoint.configuration
    self.backend = backend
    decoder = try family.configure(checkpoint)
    rotary = decoder.rotary
    try backend.requireSupport(
      of: decoder.attention[0],
      widths: [decoder.hiddenSize, decoder.intermediateSize, decoder.experts?.width ?? 0])
    let tile = backend.tileShape(headDim: decoder.headDim)
    if let stride = decoder.dualChunk?.stride, stride % tile.columns != 0 {
      throw TransformerError.unsupported(
        directory: checkpoint.path, field: "dual_chunk_attention_config",
        problem: "has chunks of \(stride) positions (chunk_size less local_size): it should be a "
          + "multiple of the device's tiles, \(tile.columns)")
    }
    weights = try DecoderWeights(
      checkpoint, table: family.weights, configuration: decoder, backend: backend,
      part: part ?? DecoderPart(allOf: decoder.layers), progress: progress)
    distribution = nil
  }

  /// The whole of a model whose layers are on several devices.
  ///
  /// - Parameters:
  ///   - head: The part that has the output layer; logits are made on its device.
  ///   - distribution: Reads prompts and tokens.
  public init(head: Transformer, distribution: any LayerDistribution) {
    configuration = head.configuration
    backend = head.backend
    rotary = head.rotary
    decoder = head.decoder
    weights = head.weights
    self.distribution = distribution
  }

  /// Whether a layer norms what attention gives before it is added (GLM-4).
  package var normsAttentionOutput: Bool {
    weights.part.layers.contains { weights[$0].attentionOutputNorm != nil }
  }

  init(
    configuration: ModelConfiguration, backend: any Backend, decoder: DecoderConfiguration,
    weights: DecoderWeights
  ) {
    self.configuration = configuration
    self.backend = backend
    self.decoder = decoder
    self.weights = weights
    rotary = decoder.rotary
    distribution = nil
  }

  /// The values of `model_type` that can be run.
  public static var knownArchitectures: [String] { DecoderFamily.known.map(\.modelType) }

  /// The most tokens, prompt and answer together, that a sequence may have.
  public var contextLength: Int { rotary.contextLength }

  public var layerCount: Int { decoder.layers }

  /// The layers that the model runs: all, unless it is a part.
  public var layers: Range<Int> {
    distribution == nil ? weights.part.layers : 0..<decoder.layers
  }

  /// What of the model is here.
  public var part: DecoderPart {
    distribution == nil ? weights.part : DecoderPart(allOf: decoder.layers)
  }

  public var vocabularySize: Int { decoder.vocabularySize }

  /// Whether a layer computes all of its sliding window, whatever patterns say.
  package func computesWholeWindow(layer: Int) -> Bool {
    decoder.computesWholeWindows && decoder.attention[layer].slidingWindow != nil
  }

  /// Keys and values of a layer with what its softmax is over besides.
  func withSinks(_ keysAndValues: KeyValueLayer, layer: Int) -> KeyValueLayer {
    var keysAndValues = keysAndValues
    keysAndValues.sinks = weights[layer].sinks?.tensor
    return keysAndValues
  }

  /// The sizes of a layer's attention. Layers differ in the sliding window alone.
  public func attentionShape(layer: Int) -> AttentionShape { decoder.attention[layer] }

  /// An empty cache.
  ///
  /// - Parameters:
  ///   - capacity: Prompt tokens and tokens to come.
  ///   - keyValues: Number format and place; the backend's own choice by default.
  ///   - sequenceLength: The length that dynamic rotary scaling is to count with; nil for that of the
  ///     first prompt. See ``RotaryScaling/embedding(forLength:)``.
  ///   - chunk: Tokens of a prompt that will be read at once; nil: all.
  ///   - planner: What prompts will be read with, as far as that takes memory; nil: dense.
  ///   - layers: The layers of a pipeline's stage; nil: all.
  ///   - shareable: About how many positions at the beginning other caches may have too (in the package's
  ///     `makeCache(capacity:beginningWith:chunk:planner:)`); nil: none. Caches in parts share nothing.
  /// - Throws: ``TransformerError/contextExceeded(tokens:contextLength:)``,
  ///   ``TransformerError/doesNotFit(tokens:longest:detail:)``; out of memory.
  public func makeCache(
    capacity: Int, keyValues: KeyValueOptions = KeyValueOptions(), sequenceLength: Int? = nil,
    chunk: Int? = nil, planner: AttentionPlanner? = nil, layers: Range<Int>? = nil,
    shareable: Int? = nil
  ) throws -> KeyValueCache {
    let layers = layers ?? self.layers
    guard !layers.isEmpty, (0..<decoder.layers).contains(layers.lowerBound),
      layers.upperBound <= decoder.layers
    else {
      throw TransformerError.invalidOption(
        name: "the range of layers", value: "\(layers)",
        allowed: "a part of 0..<\(decoder.layers) that is not empty")
    }
    guard capacity <= contextLength else {
      throw TransformerError.contextExceeded(tokens: capacity, contextLength: contextLength)
    }
    if let distribution {
      guard layers == self.layers else { throw TransformerError.missingPart(what: "one device") }
      return try distribution.makeCache(
        capacity: capacity, keyValues: keyValues, sequenceLength: sequenceLength, chunk: chunk,
        planner: planner)
    }
    let plan = try memoryPlan(
      tokens: capacity, chunk: chunk, wanted: keyValues, planner: planner, layers: layers.count)
    let cache = try KeyValueCache(
      layers: layers, shape: decoder.attention[0], capacity: capacity,
      options: plan?.keyValues ?? keyValues, sequenceLength: sequenceLength,
      sharing: shareable.map { .possible(common: $0) } ?? .none, backend: backend)
    cache.memoryPlan = plan
    return cache
  }

  /// Whether a cache has to be emptied and its tokens read again before so many are added, because
  /// the sequence outgrows the rotary frequencies that its keys were turned with.
  ///
  /// This is so for LongRoPE alone, when a sequence that began within the original length grows
  /// beyond it: short factors and long ones do not mix, and the `generate` of transformers drops its
  /// cache there too (`models/phi3`, `prepare_inputs_for_generation`). ``prefill(_:cache:options:)``
  /// and ``decode(_:cache:)`` themselves keep the factors that a sequence began with.
  public func mustReadAgain(_ cache: KeyValueCache, adding tokens: Int) -> Bool {
    guard cache.count > 0, let length = cache.sequenceLength else { return false }
    return rotary.changes(from: length, to: cache.count + tokens)
  }

  /// Whether nothing of a cache can be kept for a sequence of so many tokens, which may also be
  /// shorter than the one that it holds: LongRoPE turned the keys with the other set of factors.
  public func mustReadAgain(_ cache: KeyValueCache, reaching tokens: Int) -> Bool {
    guard cache.count > 0, let length = cache.sequenceLength else { return false }
    return rotary.changes(from: length, to: tokens) || rotary.changes(from: tokens, to: length)
  }

  /// Whether a sequence of so many tokens has the long factors of LongRoPE: its keys are others then.
  package func usesLongFactors(_ tokens: Int) -> Bool { rotary.changes(from: 1, to: tokens) }

  /// Checks ids that are about to be read, before anything is computed.
  func validate(_ ids: [Int32], for cache: KeyValueCache) throws {
    try validate(tokens: ids.count, for: cache)
    if let index = ids.firstIndex(where: { $0 < 0 || Int($0) >= vocabularySize }) {
      throw TransformerError.idOutOfRange(
        index: index, id: ids[index], vocabularySize: vocabularySize)
    }
  }

  /// Checks that a cache is not one of a pipeline's stage.
  func requireAllLayers(of cache: KeyValueCache) throws {
    guard cache.layers == layers else {
      throw TransformerError.foreignCache(
        detail: "it has the layers \(cache.layers) of \(layers)")
    }
  }

  /// Checks that so many tokens can be added to a cache, and that the cache fits the model.
  func validate(tokens added: Int, for cache: KeyValueCache) throws {
    guard added > 0 else { throw TransformerError.emptyPrompt }
    guard !cache.isBeingFilled, cache.count >= cache.sharedCount else {
      throw TransformerError.cacheInUse
    }
    let tokens = cache.count + added
    guard tokens <= contextLength else {
      throw TransformerError.contextExceeded(tokens: tokens, contextLength: contextLength)
    }
    guard tokens <= cache.capacity else {
      throw TransformerError.cacheFull(tokens: tokens, capacity: cache.capacity)
    }
    let shape = decoder.attention[0]
    let keys = cache.extents
    guard cache.layers.upperBound <= decoder.layers, keys[0] == shape.keyValueHeads,
      keys[2] == shape.headDim
    else {
      throw TransformerError.foreignCache(
        detail: "it has the layers \(cache.layers) of \(keys[0]) x \(keys[2]), the model "
          + "\(layers) of \(shape.keyValueHeads) x \(shape.headDim)")
    }
  }

  /// The rotary embedding of a cache's sequence, decided by the first tokens that it gets.
  func rotaryEmbedding(of cache: KeyValueCache, adding tokens: Int) -> RotaryEmbedding {
    rotaryEmbedding(forLength: cache.lengthOfSequence(adding: tokens))
  }

  /// The rotary embedding of a sequence of so many tokens.
  public func rotaryEmbedding(forLength length: Int) -> RotaryEmbedding {
    var embedding = rotary.embedding(forLength: length)
    embedding.attentionScaling *= decoder.dualChunk?.attentionScaling(forLength: length) ?? 1
    return embedding
  }

  /// Logits of consecutive rows from their hidden states behind the last layer. hidden: [rows, hidden],
  /// unchanged; result: rows * vocabulary.
  public func logits(of hidden: Tensor) throws -> [Float] {
    try backend.read(makeLogits(of: hidden))
  }

  /// The same, where the backend computes: [rows, vocabulary] float32.
  public func makeLogits(of hidden: Tensor) throws -> Tensor {
    let head = try weights.requireHead()
    let purpose = "the logits of \(hidden.rows) rows"
    let normed = try backend.makeTensor(
      backend.activationType, hidden.shape, purpose: purpose)
    try backend.rmsNorm(
      hidden, weight: head.norm, epsilon: decoder.normEpsilon, into: normed)
    let logits = try backend.makeTensor(
      .float32, [hidden.rows, vocabularySize], purpose: purpose)
    try backend.linear(
      normed, weight: head.output.weight, bias: head.output.bias, into: logits,
      accumulate: false)
    return logits
  }
}
