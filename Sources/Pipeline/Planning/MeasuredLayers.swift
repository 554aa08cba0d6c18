import Compute
import Transformers

/// What layers were measured to take on the devices of a pipeline, and what follows from it for spreading them.
///
/// A pure value. Each device read a short prompt with one layer; the last one with the model's last layer.
public struct MeasuredLayers: Sendable, Hashable {
  /// In the order of the stages.
  public let devices: [LayerTiming]
  /// Seconds of the logits of one row, where they are made; nil: not measured.
  public let output: Double?
  /// Whether the devices are processors.
  public let isProcessor: Bool

  /// - Parameter devices: Not empty, all of the same number of rows.
  public init(devices: [LayerTiming], output: Double? = nil, isProcessor: Bool = false) {
    self.devices = devices
    self.output = output
    self.isProcessor = isProcessor
  }

  /// Rows of the prompt that the spread is made for.
  static let countedRows = 32_768
  /// Times that differ by less from their mean are equal: so much they differ from run to run. Threads of a
  /// processor's core disturb each other.
  static let (toleranceOfDevices, toleranceOfProcessors) = (0.05, 0.15)

  /// Seconds of a layer for the rows that were measured, on each device: the mean of the first and the second
  /// measurement, so that linear layers and attention count.
  public var layerSeconds: [Double] {
    let seconds = devices.map { ($0.layer + $0.behind) / 2 }
    let mean = seconds.reduce(0, +) / Double(max(1, seconds.count))
    let tolerance = isProcessor ? Self.toleranceOfProcessors : Self.toleranceOfDevices
    let isEven = seconds.allSatisfy { abs($0 - mean) <= tolerance * mean }
    return isEven ? seconds.map { _ in mean } : seconds
  }

  /// The time of a layer on each device over that of the fastest.
  public var slowness: [Double] {
    let seconds = layerSeconds
    let least = seconds.min() ?? 1
    return seconds.map { least > 0 ? $0 / least : 1 }
  }

  /// The time of the last layer's output in layers, negative: of all rows but the last of a prompt the last
  /// layer stores keys and values alone.
  var lastLayerSaving: Double {
    guard let last = devices.last, last.layer > 0 else { return 0 }
    return min(0, last.lastRowOnly / last.layer - 1)
  }

  /// The time of the logits in layers.
  var outputLayers: Double {
    guard let output, let last = devices.last, last.layer > 0 else { return 0 }
    return output / (last.layer * Double(Self.countedRows) / Double(last.rows))
  }

  /// "1.92 ms a layer for 4,096 tokens"
  public func description(ofDevice device: Int) -> String {
    let timing = devices[device]
    let micros = Int((timing.layer * 1e6).rounded())
    let text =
      micros < 100_000
      ? "\(micros / 1000).\(String(micros % 1000 / 10 + 100).dropFirst()) ms"
      : "\(micros / 1000) ms"
    return "\(text) a layer for \(timing.rows) tokens"
  }
}

extension LayerPipeline {
  /// What of a model is loaded to measure a device: one layer from the middle, of the last device the
  /// model's last layer.
  static func measuredPart(of layers: Int, isLast: Bool, hasOutput: Bool) -> DecoderPart {
    let layer = isLast ? layers - 1 : layers / 2
    return DecoderPart(
      layers: layer..<layer + 1, hasEmbedding: false, hasOutput: isLast && hasOutput)
  }

  /// Seconds of the logits of one row; the best of three.
  static func outputSeconds(_ part: Transformer) throws -> Double {
    let backend = part.backend
    let hidden = try backend.makeTensor(
      backend.activationType, [1, part.hiddenSize], purpose: "measuring the output layer")
    try backend.write((0..<part.hiddenSize).map { Float($0 % 13 - 6) / 8 }, to: hidden)
    func seconds() throws -> Double {
      try backend.finish()
      let start = ContinuousClock.now
      _ = try part.logits(of: hidden)
      return (ContinuousClock.now - start).inSeconds
    }
    _ = try seconds()
    return try min(seconds(), seconds(), seconds())
  }
}
