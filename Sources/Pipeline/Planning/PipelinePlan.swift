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

    /// Whether a device has memory for so many layers.
    func fits(_ layers: Int, on device: Device, isFirst: Bool, isLast: Bool) -> Bool {
      guard let free = device.freeBytes else { return true }
      return layers * layerBytes + (isFirst ? embeddingBytes : 0) + (isLast ? outputBytes : 0)
        <= free
    }
  }

  private init(stages: [Range<Int>]) { self.stages = stages }

  /// The plan to which one layer after the other can be moved to a neighbouring stage while a prompt takes less
  /// time. The slowest stage alone does not decide: where the last stage has a little more to do, the first
  /// chunks may be small, and cheap, for they see few keys.
  ///
  /// - Parameter seconds: Of a prompt, with so many layers in each stage.
  func improved(
    _ model: Model, devices: [Device], seconds: ([Int]) -> Double
  ) -> PipelinePlan {
    var counts = stages.map(\.count)
    var best = seconds(counts)
    func fits(_ counts: [Int], _ stage: Int) -> Bool {
      model.fits(
        counts[stage], on: devices[stage], isFirst: stage == 0, isLast: stage == counts.count - 1)
    }
    var isBetter = true
    while isBetter {
      isBetter = false
      for stage in counts.indices.dropLast() {
        for (from, to) in [(stage, stage + 1), (stage + 1, stage)] where counts[from] > 1 {
          var moved = counts
          moved[from] -= 1
          moved[to] += 1
          guard fits(moved, to) else { continue }
          let time = seconds(moved)
          // Less than a thousandth is no reason.
          guard time < 0.999 * best else { continue }
          (counts, best, isBetter) = (moved, time, true)
        }
      }
    }
    var end = 0
    return PipelinePlan(
      stages: counts.map { count in
        defer { end += count }
        return end..<end + count
      })
  }

  /// The plan for devices that were measured, or whose costs are known.
  ///
  /// - Parameters:
  ///   - costs: Of a layer on the fastest device.
  ///   - slowness: See ``PipelineSimulation/Stages``.
  ///   - isProcessor: Whether devices are processors, which read shorter prompts, densely.
  /// - Throws: as ``init(_:devices:)``.
  public init(
    _ model: Model, devices: [Device], costs: PipelineCosts, slowness: [Double]? = nil,
    isProcessor: Bool
  ) throws {
    let tokens = isProcessor ? 16_384 : 131_072
    self = try PipelinePlan(model, devices: devices).improved(model, devices: devices) { layers in
      let stages = PipelineSimulation.Stages(layers: layers, slowness: slowness)
      let cut = PipelineChunks(
        0..<tokens, stages: stages, costs: costs, isSparse: !isProcessor, granule: 1024)
      return PipelineSimulation(
        stages, chunks: cut.chunks, costs: costs, isSparse: !isProcessor
      ).seconds
    }
  }

  /// - Throws: ``PipelineError/tooManyStages(stages:layers:)``,
  ///   ``PipelineError/doesNotFit(neededBytes:availableBytes:)``.
  public init(_ model: Model, devices: [Device]) throws {
    guard !devices.isEmpty, devices.count <= model.layers else {
      throw PipelineError.tooManyStages(stages: devices.count, layers: model.layers)
    }
    func isLast(_ stage: Int) -> Bool { stage == devices.count - 1 }
    func fits(_ stage: Int, _ layers: Int) -> Bool {
      model.fits(layers, on: devices[stage], isFirst: stage == 0, isLast: isLast(stage))
    }
    func seconds(_ stage: Int, _ layers: Int) -> Double {
      devices[stage].layerSeconds
        * (Double(layers) + (stage == 0 ? model.embeddingLayers : 0)
          + (isLast(stage) ? model.outputLayers : 0))
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
