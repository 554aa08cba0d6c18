public import Checkpoints
import Compute

/// What a checkpoint is and what it takes, from its headers alone: no weight is read.
public struct ModelDescription: Sendable {
  public let configuration: ModelConfiguration
  /// Elements of all tensors.
  public let parameters: Int
  /// Bytes of all weight files.
  public let weightBytes: Int
  /// Positions that the model has, prompt and answer together.
  public let contextLength: Int
  /// Elements of a head that turn with the position.
  public let turnedDimensions: Int
  /// Layers with a sliding window.
  public let slidingLayers: Int
  private let decoder: DecoderConfiguration

  /// - Throws: ``TransformerError`` for a family that is not known or a field that it does not have;
  ///   `CheckpointError` for a tensor whose type is not read.
  public init(_ checkpoint: Checkpoint) throws {
    configuration = checkpoint.configuration
    decoder = try DecoderFamily.of(checkpoint).configure(checkpoint)
    contextLength = decoder.rotary.contextLength
    turnedDimensions = decoder.rotary.dimensions
    slidingLayers = decoder.attention.count { $0.slidingWindow != nil }
    weightBytes = checkpoint.byteCount
    parameters = try checkpoint.tensorNames.reduce(0) { sum, name in
      sum + (try checkpoint.tensor(named: name).count)
    }
  }

  /// Bytes of the keys and values of one position in all layers.
  ///
  /// - Parameter elementBytes: 4 for float32, 2 for bfloat16, 1 for float8.
  public func keyValueBytes(elementBytes: Int) -> Int {
    2 * decoder.layers * decoder.keyValueWidth * elementBytes
  }

  /// What reading a prompt of so many tokens in one chunk takes, beside weights, keys and values:
  /// hidden states of every row, and the intermediate results of a block of rows.
  public func activationBytes(tokens: Int, rowBlock: Int, elementBytes: Int) -> Int {
    (tokens * decoder.hiddenSize + min(tokens, rowBlock) * decoder.rowWidths.activations)
      * elementBytes
  }
}
