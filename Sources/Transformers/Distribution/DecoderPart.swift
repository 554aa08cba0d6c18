/// The part of a decoder that one device holds: a range of its layers, and what lies before and behind
/// them.
public struct DecoderPart: Sendable, Hashable {
  public let layers: Range<Int>
  /// Whether token ids are embedded here.
  public let hasEmbedding: Bool
  /// Whether the last norm and the output layer are here.
  public let hasOutput: Bool

  public init(layers: Range<Int>, hasEmbedding: Bool, hasOutput: Bool) {
    self.layers = layers
    self.hasEmbedding = hasEmbedding
    self.hasOutput = hasOutput
  }

  /// A whole decoder of `layers` layers.
  public init(allOf layers: Int) {
    self.init(layers: 0..<layers, hasEmbedding: true, hasOutput: true)
  }

  /// A stage of a pipeline over a decoder's layers: the first stage embeds, the last has the output layer.
  public init(stage layers: Range<Int>, of count: Int) {
    self.init(
      layers: layers, hasEmbedding: layers.lowerBound == 0, hasOutput: layers.upperBound == count)
  }
}
