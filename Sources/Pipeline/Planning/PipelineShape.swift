public import Checkpoints
public import Transformers

/// The sizes of a model that decide what its layers cost.
public struct PipelineShape: Sendable, Hashable {
  public var layers: Int
  public var hiddenSize: Int
  public var vocabularySize: Int
  /// Multiplications and additions of a layer's linear part for one token.
  public var linearProducts: Double
  /// Numbers in the weights of one layer.
  public var layerParameters: Double
  public var queryHeads: Int
  public var keyValueHeads: Int
  public var headDim: Int

  public init(
    layers: Int, hiddenSize: Int, intermediateSize: Int, vocabularySize: Int, queryHeads: Int,
    keyValueHeads: Int, headDim: Int
  ) {
    self.layers = layers
    self.hiddenSize = hiddenSize
    self.vocabularySize = vocabularySize
    self.queryHeads = queryHeads
    self.keyValueHeads = keyValueHeads
    self.headDim = headDim
    let attention = 2 * (queryHeads + keyValueHeads) * headDim * hiddenSize
    layerParameters = Double(attention + 3 * hiddenSize * intermediateSize)
    linearProducts = layerParameters
  }

  public init(_ model: Transformer) { self.init(model.configuration) }

  public init(_ configuration: ModelConfiguration) {
    self.init(
      layers: configuration.numHiddenLayers, hiddenSize: configuration.hiddenSize,
      intermediateSize: configuration.intermediateSize,
      vocabularySize: configuration.vocabularySize,
      queryHeads: configuration.numAttentionHeads,
      keyValueHeads: configuration.numKeyValueHeads,
      headDim: configuration.headDimension)
  }
}
