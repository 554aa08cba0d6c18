public import Checkpoints
public import Compute
package import Transformers

extension LayerPipeline {
  /// A device that is to hold a stage.
  public struct Member: Sendable {
    public let backend: any Backend
    /// As messages call it: "cuda:1".
    public let name: String

    public init(backend: any Backend, name: String) {
      self.backend = backend
      self.name = name
    }
  }

  /// Loads a checkpoint, its layers spread over devices.
  ///
  /// - Parameter stageLayers: How many layers each device gets; nil: as ``PipelinePlan`` spreads them.
  /// - Throws: ``PipelineError``, `TransformerError`, `CheckpointError`, `ComputeError`.
  public convenience init(
    checkpoint: any WeightSource, members: [Member], stageLayers: [Int]? = nil
  ) throws {
    try self.init(
      shape: PipelineShape(checkpoint.configuration), members: members, stageLayers: stageLayers
    ) { try Transformer(checkpoint: checkpoint, backend: $1.backend, part: $0) }
  }

  /// Spreads a model of some shape over devices.
  ///
  /// - Parameter load: Makes the part of the model that a device holds.
  package convenience init(
    shape: PipelineShape, members: [Member], stageLayers: [Int]? = nil,
    load: (DecoderPart, Member) throws -> Transformer
  ) throws {
    let ranges =
      try stageLayers.map {
        try PipelinePlan(layers: $0, of: shape.layers, devices: members.count).stages
      } ?? Self.plan(shape, members).stages
    try self.init(
      parts: zip(ranges, members).map { layers, member in
        (try load(DecoderPart(stage: layers, of: shape.layers), member), member.name)
      })
  }

  /// By the weights; what keys and values take is known when a cache is made.
  private static func plan(_ shape: PipelineShape, _ members: [Member]) throws -> PipelinePlan {
    let devices = try members.map { member in
      PipelinePlan.Device(freeBytes: try member.backend.availableMemory()?.device)
    }
    return try PipelinePlan(PipelinePlan.Model(shape), devices: devices)
  }
}

extension PipelinePlan.Model {
  /// The weights of a shape in bfloat16, and the time of its ends beside that of a layer, for a prompt of
  /// 32,768 tokens.
  public init(_ shape: PipelineShape) {
    let costs = PipelineCosts(shape, device: .h200)
    let tokens = 32_768
    let layer = costs.layerSeconds(0..<tokens, isSparse: true, tokens: tokens)
    let vocabularyBytes = 2 * shape.vocabularySize * shape.hiddenSize
    self.init(
      layers: shape.layers, layerBytes: Int(2 * shape.layerParameters),
      embeddingBytes: vocabularyBytes, outputBytes: vocabularyBytes,
      embeddingLayers: costs.embeddingPerToken * Double(tokens) / layer,
      // The last layer is computed for the prompt's last row alone, but for its keys and values.
      outputLayers: costs.output / layer - 0.9)
  }
}
