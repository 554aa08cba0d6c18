public import Checkpoints
import Compute
import StoredNumbers

/// What a checkpoint is and what it takes, from its headers alone: no weight is read.
public struct ModelDescription: Sendable {
  public let configuration: ModelConfiguration
  /// Elements of all tensors.
  public let parameters: Int
  /// Those that one token passes: of a mixture of experts, the experts that it goes to.
  public let activeParameters: Int
  /// Bytes of all weight files.
  public let weightBytes: Int
  /// How tensors are stored, and how much of the model is stored so, the largest share first.
  public let formats: [FormatShare]
  /// Positions that the model has, prompt and answer together.
  public let contextLength: Int
  /// Elements of a head that turn with the position.
  public let turnedDimensions: Int
  /// Layers with a sliding window.
  public let slidingLayers: Int
  /// Layers with experts.
  public let expertLayers: Int
  private let decoder: DecoderConfiguration

  /// The tensors of one format.
  public struct FormatShare: Sendable, Equatable {
    /// As files spell it: BF16, Q4_K.
    public let name: String
    public var tensors: Int
    public var parameters: Int
    public var bytes: Int
  }

  /// Bits that a parameter takes on average, scales included.
  public var bitsPerParameter: Double {
    8 * Double(formats.reduce(0) { $0 + $1.bytes }) / Double(max(parameters, 1))
  }

  /// - Throws: ``TransformerError`` for a family that is not known or a field that it does not have;
  ///   `CheckpointError` for a tensor whose type is not read.
  public init(_ checkpoint: any WeightSource) throws {
    configuration = checkpoint.configuration
    decoder = try DecoderFamily.of(checkpoint).configure(checkpoint)
    contextLength = decoder.rotary.contextLength
    turnedDimensions = decoder.rotary.dimensions
    slidingLayers = decoder.attention.count { $0.slidingWindow != nil }
    expertLayers = decoder.experts?.hasExperts.count { $0 } ?? 0
    weightBytes = checkpoint.byteCount
    formats = try FormatShare.shares(of: checkpoint)
    parameters = formats.reduce(0) { $0 + $1.parameters }
    let idle = try decoder.experts.map { experts in
      let all = try checkpoint.parametersOfExperts()
      return all - all / experts.rule.experts * experts.rule.perRow
    }
    activeParameters = parameters - (idle ?? 0)
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

extension ModelDescription.FormatShare {
  fileprivate static func shares(of source: any WeightSource) throws -> [Self] {
    var shares: [String: Self] = [:]
    for name in source.tensorNames {
      let tensor = try source.tensor(named: name)
      let format =
        switch tensor.format {
        case .dense(let element): element.rawValue
        case .blocks(let block): block.rawValue
        case .float8: "F8_E4M3"
        }
      var share = shares[format] ?? Self(name: format, tensors: 0, parameters: 0, bytes: 0)
      share.tensors += 1
      share.parameters += tensor.count
      share.bytes += tensor.byteCount
      shares[format] = share
    }
    return shares.values.sorted { ($1.bytes, $0.name) < ($0.bytes, $1.name) }
  }
}

extension WeightSource {
  /// Elements of the matrices of which a token passes those of its experts alone.
  fileprivate func parametersOfExperts() throws -> Int {
    try tensorNames.filter { $0.contains(".mlp.experts.") }.reduce(0) {
      try $0 + tensor(named: $1).count
    }
  }
}
