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
  let intermediateSize: Int
  let vocabularySize: Int
  /// The attention of each layer; layers differ in the sliding window alone.
  let attention: [AttentionShape]
  let biases: ProjectionBiases
  let normEpsilon: Float
  let isOutputTied: Bool
  let rotary: RotaryScaling

  /// - Parameter slidingWindow: The window in force in a layer.
  /// - Throws: ``TransformerError/unsupported`` for what no family here has.
  init(
    _ checkpoint: Checkpoint, biases: ProjectionBiases, slidingWindow: (_ layer: Int) -> Int?
  ) throws {
    let configuration = checkpoint.configuration
    func unsupported(_ field: String, _ problem: String) -> TransformerError {
      .unsupported(directory: checkpoint.directory, field: field, problem: problem)
    }
    guard configuration.activation == .silu else {
      throw unsupported(
        "hidden_act",
        "is \"\(configuration.activation.rawValue)\": \(configuration.modelType) has silu")
    }
    guard configuration.partialRotaryFactor == 1 else {
      throw unsupported(
        "partial_rotary_factor",
        "is \(configuration.partialRotaryFactor): \(configuration.modelType) turns whole heads")
    }
    layers = configuration.numHiddenLayers
    hiddenSize = configuration.hiddenSize
    intermediateSize = configuration.intermediateSize
    vocabularySize = configuration.vocabularySize
    attention = (0..<configuration.numHiddenLayers).map { layer in
      AttentionShape(
        queryHeads: configuration.numAttentionHeads, keyValueHeads: configuration.numKeyValueHeads,
        headDim: configuration.headDimension, slidingWindow: slidingWindow(layer))
    }
    self.biases = biases
    normEpsilon = Float(configuration.rmsNormEpsilon)
    isOutputTied = configuration.tieWordEmbeddings
    rotary = RotaryScaling(configuration)
  }

  var headDim: Int { attention[0].headDim }
  /// Width of q and of the attention output.
  var queryWidth: Int { attention[0].queryHeads * headDim }
  /// Width of k and of v.
  var keyValueWidth: Int { attention[0].keyValueHeads * headDim }
}
