import Checkpoints
import Compute

/// Which projections of a family carry biases.
struct ProjectionBiases: Sendable, Equatable {
  var qkv: Bool
  var o: Bool
  var mlp: Bool

  static let none = ProjectionBiases(qkv: false, o: false, mlp: false)
}

/// The sizes and numbers that the shared decoder works with, as a family made them of config.json.
struct DecoderConfiguration: Sendable {
  let layers: Int
  let hiddenSize: Int
  /// Of the widest gated MLP of a layer; 0 where layers have experts alone.
  let intermediateSize: Int
  /// nil: every layer has a gated MLP.
  let experts: ExpertLayers?
  let vocabularySize: Int
  /// The attention of each layer; layers differ in the sliding window alone.
  let attention: [AttentionShape]
  let biases: ProjectionBiases
  /// Whether queries and keys are normalised, where the family's weights have norms for them.
  let hasHeadNorms: Bool
  let normEpsilon: Float
  let isOutputTied: Bool
  let rotary: RotaryScaling
  /// nil: every key is seen at its true distance.
  let dualChunk: DualChunk?
  /// Whether the softmax of every head is over a sink too.
  let hasSinks: Bool
  /// Whether layers with a sliding window compute all of it, whatever patterns say.
  let computesWholeWindows: Bool

  /// - Parameters:
  ///   - partialRotaryFactor: The share of a head that turns where config.json does not say; nil:
  ///     the family turns whole heads, and a file that asks for less is refused.
  ///   - experts: Of the layers that have them; nil: none has.
  ///   - computesWholeWindows: Where windows are as narrow as what selectors keep of a prompt.
  ///   - slidingWindow: The window in force in a layer.
  /// - Throws: ``TransformerError/unsupported`` for what no family here has.
  init(
    _ checkpoint: any WeightSource, biases: ProjectionBiases, hasHeadNorms: Bool = true,
    hasSinks: Bool = false, computesWholeWindows: Bool = false,
    partialRotaryFactor: Double? = nil,
    rotaryLayout: RotaryEmbedding.Layout = .halves, experts: ExpertLayers? = nil,
    slidingWindow: (_ layer: Int) -> Int? = { _ in nil }
  ) throws {
    let configuration = checkpoint.configuration
    func unsupported(_ field: String, _ problem: String) -> TransformerError {
      .unsupported(directory: checkpoint.path, field: field, problem: problem)
    }
    guard configuration.activation == .silu else {
      throw unsupported(
        "hidden_act",
        "is \"\(configuration.activation.rawValue)\": \(configuration.modelType) has silu")
    }
    let givenFactor = configuration.partialRotaryFactor
    if let givenFactor, givenFactor != 1, partialRotaryFactor == nil {
      throw unsupported(
        "partial_rotary_factor", "is \(givenFactor): \(configuration.modelType) turns whole heads")
    }
    let turned = Int(
      Double(configuration.headDimension) * (givenFactor ?? partialRotaryFactor ?? 1))
    guard turned > 0, turned % 2 == 0 else {
      throw unsupported(
        "partial_rotary_factor",
        "turns \(turned) of \(configuration.headDimension) dimensions: it should be an even number")
    }
    if case .longRope(let longRope) = configuration.ropeScaling,
      longRope.shortFactors.count != turned / 2
    {
      throw unsupported(
        "rope_scaling.short_factor",
        "has \(longRope.shortFactors.count) numbers: it should have one for each of the "
          + "\(turned / 2) pairs that turn")
    }
    if case .divisors(let divisors) = configuration.ropeScaling, divisors.count != turned / 2 {
      throw unsupported(
        "rope_freqs",
        "has \(divisors.count) numbers: it should have one for each of the \(turned / 2) pairs "
          + "that turn")
    }
    layers = configuration.numHiddenLayers
    hiddenSize = configuration.hiddenSize
    self.experts = experts
    intermediateSize =
      experts?.denseWidth(intermediateSize: configuration.intermediateSize)
      ?? configuration.intermediateSize
    vocabularySize = configuration.vocabularySize
    attention = (0..<configuration.numHiddenLayers).map { layer in
      AttentionShape(
        queryHeads: configuration.numAttentionHeads, keyValueHeads: configuration.numKeyValueHeads,
        headDim: configuration.headDimension, slidingWindow: slidingWindow(layer))
    }
    self.biases = biases
    self.hasHeadNorms = hasHeadNorms
    normEpsilon = Float(configuration.rmsNormEpsilon)
    isOutputTied = configuration.tieWordEmbeddings
    dualChunk = configuration.dualChunkAttention.map(DualChunk.init)
    if dualChunk != nil, attention.contains(where: { $0.slidingWindow != nil }) {
      throw unsupported(
        "dual_chunk_attention_config", "is there with a sliding window: known is one of the two")
    }
    if dualChunk != nil, hasSinks {
      throw unsupported(
        "dual_chunk_attention_config", "is there in a \(configuration.modelType), which has sinks")
    }
    self.hasSinks = hasSinks
    self.computesWholeWindows = computesWholeWindows
    rotary = RotaryScaling(configuration, dimensions: turned, layout: rotaryLayout)
  }

  var headDim: Int { attention[0].headDim }
  /// Width of q and of the attention output.
  var queryWidth: Int { rowWidths.query }
  /// Width of k and of v.
  var keyValueWidth: Int { rowWidths.keyValue }
  /// Of what a block of rows is worked on with.
  var rowWidths: RowWidths {
    RowWidths(
      hidden: hiddenSize, intermediate: intermediateSize, attention: attention[0],
      experts: experts.map { ($0.rule, $0.width) })
  }
  /// Intermediate size of what one row passes in a layer.
  func activeWidth(layer: Int) -> Int {
    guard let experts, experts.hasExperts[layer] else { return intermediateSize }
    return experts.activeWidth
  }
}
