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
  /// - Parameter stageLayers: How many layers each device gets; nil: one layer is measured on every device, and
  ///   ``PipelinePlan`` spreads them by time and free memory.
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
    var ranges: [Range<Int>]
    var measured: MeasuredLayers?
    if let stageLayers {
      ranges = try PipelinePlan(layers: stageLayers, of: shape.layers, devices: members.count)
        .stages
    } else {
      guard !members.isEmpty, members.count <= shape.layers else {
        throw PipelineError.tooManyStages(stages: members.count, layers: shape.layers)
      }
      // What measuring takes is free again before the stages are loaded.
      let free = try members.map { try $0.backend.availableMemory()?.device }
      let found = try Self.measure(shape, members, load)
      measured = found
      ranges = try PipelinePlan(
        PipelinePlan.Model(shape, found), shape, found, free: free
      ).stages
    }
    try self.init(
      parts: zip(ranges, members).map { layers, member in
        (try load(DecoderPart(stage: layers, of: shape.layers), member), member.name)
      }, measured: measured)
  }

  private static func measure(
    _ shape: PipelineShape, _ members: [Member],
    _ load: (DecoderPart, Member) throws -> Transformer
  ) throws -> MeasuredLayers {
    var timings: [LayerTiming] = []
    var output: Double?
    for (number, member) in members.enumerated() {
      let isLast = number == members.count - 1
      let part = try load(
        measuredPart(of: shape.layers, isLast: isLast, hasOutput: true), member)
      timings.append(try LayerTiming(part, rows: timings.first?.rows))
      if isLast { output = try outputSeconds(part) }
    }
    return MeasuredLayers(
      devices: timings, output: output,
      isProcessor: members.allSatisfy { $0.backend.capabilities.hasUnifiedMemory })
  }
}

extension PipelinePlan {
  /// The plan for what was measured.
  ///
  /// - Parameter free: Bytes that are free on each device.
  init(
    _ model: Model, _ shape: PipelineShape, _ measured: MeasuredLayers, free: [Int?]
  ) throws {
    let isProcessor = measured.isProcessor
    try self.init(
      model,
      devices: zip(measured.layerSeconds, free).map {
        Device(layerSeconds: $0, freeBytes: $1)
      },
      costs: PipelineCosts(shape, measured: measured, scaling: isProcessor ? .core : .h200),
      slowness: measured.slowness, isProcessor: isProcessor)
  }
}

extension PipelinePlan.Model {
  /// The weights of a shape in bfloat16, and the time of its ends beside that of a layer, for a prompt of
  /// 32,768 tokens.
  public init(_ shape: PipelineShape) {
    let costs = PipelineCosts(shape, device: .h200)
    let tokens = MeasuredLayers.countedRows
    let layer = costs.layerSeconds(0..<tokens, isSparse: true, tokens: tokens)
    let vocabularyBytes = 2 * shape.vocabularySize * shape.hiddenSize
    self.init(
      layers: shape.layers, layerBytes: Int(2 * shape.layerParameters),
      embeddingBytes: vocabularyBytes, outputBytes: vocabularyBytes,
      embeddingLayers: costs.embeddingPerToken * Double(tokens) / layer,
      // The last layer is computed for the prompt's last row alone, but for its keys and values.
      outputLayers: costs.output / layer - 0.9)
  }

  /// The same with what was measured: bytes of a layer as devices hold it, and the times of the model's end.
  /// The embedding copies rows; its time is modelled.
  public init(_ shape: PipelineShape, _ measured: MeasuredLayers) {
    self.init(shape)
    layerBytes = measured.devices.map(\.bytes).max() ?? layerBytes
    outputLayers = measured.lastLayerSaving + measured.outputLayers
  }
}
