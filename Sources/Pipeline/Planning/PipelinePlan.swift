/// Which layers each device of a pipeline gets.
///
/// A pure value: the slowest stage is as quick as it can be, and every stage fits its device. Embedding
/// and output layer count with the first and the last stage.
public struct PipelinePlan: Sendable, Equatable {
  /// The layers of each stage, in order; none is empty.
  public let stages: [Range<Int>]

  /// The stages of these numbers of layers.
  ///
  /// - Throws: ``PipelineError/stageLayers(counts:stages:layers:)`` unless each of `devices` gets layers and
  ///   all are given out.
  public init(layers counts: [Int], of layers: Int, devices: Int) throws {
    guard counts.count == devices, counts.allSatisfy({ $0 > 0 }), counts.reduce(0, +) == layers
    else {
      throw PipelineError.stageLayers(counts: counts, stages: devices, layers: layers)
    }
    var end = 0
    stages = counts.map { count in
      defer { end += count }
      return end..<end + count
    }
  }

  /// What a device can take.
  public struct Device: Sendable, Hashable {
    /// Seconds of one layer for the tokens that count; only the ratio between devices matters.
    public var layerSeconds: Double
    /// Bytes that are free; nil: as many as are needed.
    public var freeBytes: Int?

    public init(layerSeconds: Double = 1, freeBytes: Int? = nil) {
      self.layerSeconds = layerSeconds
      self.freeBytes = freeBytes
    }
  }

  /// What a model takes.
  public struct Model: Sendable, Hashable {
    public var layers: Int
    /// Weights of a layer, and its keys and values.
    public var layerBytes: Int
    public var embeddingBytes: Int
    public var outputBytes: Int
    /// The time of the embedding and of the output layer, in layers.
    public var embeddingLayers: Double
    public var outputLayers: Double

    public init(
      layers: Int, layerBytes: Int = 0, embeddingBytes: Int = 0, outputBytes: Int = 0,
      embeddingLayers: Double = 0, outputLayers: Double = 0
    ) {
      self.layers = layers
      self.layerBytes = layerBytes
      self.embeddingBytes = embeddingBytes
      self.outputBytes = outputBytes
      self.embeddingLayers = embeddingLayers
      self.outputLayers = outputLayers
    }
  }

  /// - Throws: ``PipelineError/tooManyStages(stages:layers:)``,
  ///   ``PipelineError/doesNotFit(neededBytes:availableBytes:)``.
  public init(_ model: Model, devices: [Device]) throws {
    guard !devices.isEmpty, devices.count <= model.layers else {
      throw PipelineError.tooManyStages(stages: devices.count, layers: model.layers)
    }
    func isLast(_ stage: Int) -> Bool { stage == devices.count - 1 }
    func seconds(_ stage: Int, _ layers: Int) -> Double {
      devices[stage].layerSeconds
        * (Double(layers) + (stage == 0 ? model.embeddingLayers : 0)
          + (isLast(stage) ? model.outputLayers : 0))
    }
    func fits(_ stage: Int, _ layers: Int) -> Bool {
      guard let free = devices[stage].freeBytes else { return true }
      return layers * model.layerBytes + (stage == 0 ? model.embeddingBytes : 0)
        + (isLast(stage) ? model.outputBytes : 0) <= free
    }
    // slowest[n]: of the stages so far, when they hold the first n layers; nil if that does not fit.
    var slowest: [Double?] = [0] + Array(repeating: nil, count: model.layers)
    var choices: [[Int]] = []
    for stage in devices.indices {
      var next = [Double?](repeating: nil, count: model.layers + 1)
      var choice = [Int](repeating: 0, count: model.layers + 1)
      for end in stage + 1..<model.layers + 1 {
        for count in 1..<end - stage + 1 where fits(stage, count) {
          guard let before = slowest[end - count] else { continue }
          let time = max(before, seconds(stage, count))
          if time < next[end] ?? .infinity { (next[end], choice[end]) = (time, count) }
        }
      }
      slowest = next
      choices.append(choice)
    }
    guard slowest[model.layers] != nil else {
      throw PipelineError.doesNotFit(
        neededBytes: model.layers * model.layerBytes + model.embeddingBytes + model.outputBytes,
        availableBytes: devices.reduce(0) { $0 + ($1.freeBytes ?? 0) })
    }
    var stages: [Range<Int>] = []
    var end = model.layers
    for choice in choices.reversed() {
      stages.append(end - choice[end]..<end)
      end -= choice[end]
    }
    self.stages = stages.reversed()
  }
}
