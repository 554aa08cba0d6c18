public import Checkpoints

extension WeightSource {
  /// The names of the tensors that the model of this checkpoint is computed with. Others are not read,
  /// counted or fingerprinted, whatever they hold.
  ///
  /// - Throws: ``TransformerError`` for a family that is not known or a field that it does not have.
  public func neededTensorNames() throws -> [String] {
    let family = try DecoderFamily.of(self)
    let decoder = try family.configure(self)
    return try DecoderWeights.tensorNames(
      self, table: family.weights, configuration: decoder,
      part: DecoderPart(allOf: decoder.layers))
  }
}
