import Compute
package import Transformers

/// What one layer of a model takes on one device, as it was measured before the layers were spread.
public struct LayerTiming: Sendable, Hashable {
  /// Rows that were read, the first of a prompt.
  public var rows: Int
  /// Keys before them in the second measurement.
  public var keysBefore: Int
  /// Seconds of one layer for these rows, with dense attention.
  public var layer: Double
  /// The same behind ``keysBefore`` keys.
  public var behind: Double
  /// The same at the prompt's beginning where the output of the last row alone is wanted, as in a model's
  /// last layer.
  public var lastRowOnly: Double
  /// Bytes that the layer's weights take.
  public var bytes: Int

  public init(
    rows: Int, keysBefore: Int, layer: Double, behind: Double, lastRowOnly: Double, bytes: Int
  ) {
    self.rows = rows
    self.keysBefore = keysBefore
    self.layer = layer
    self.behind = behind
    self.lastRowOnly = lastRowOnly
    self.bytes = bytes
  }

  /// Rows on a device with memory of its own, which fill it.
  static let rowsOfDevice = 4096
  /// On a processor as many as take about this time.
  static let secondsOfProcessor = 0.015
  static let rowsOfProcessor = 64...1024

  /// Measures the last layer of a part of a model, the best of three runs. On a processor a run counts by its
  /// processor time where that is less.
  ///
  /// - Parameter rows: nil for as many as suit the device. Devices that are compared read the same number.
  /// - Throws: what the device throws.
  package init(_ part: Transformer, rows wanted: Int? = nil) throws {
    let layer = part.layers.upperBound - 1
    let most = max(1, part.contextLength / 4)
    var rows = wanted ?? 0
    if wanted == nil {
      if part.backend.capabilities.hasUnifiedMemory {
        let least = min(most, Self.rowsOfProcessor.lowerBound)
        _ = try Self.seconds(part, layer, rows: least)
        let first = try Self.seconds(part, layer, rows: least)
        let fitting = Double(least) * Self.secondsOfProcessor / max(first, 1e-6)
        rows = Int(min(Double(Self.rowsOfProcessor.upperBound), fitting)) / 64 * 64
        rows = min(most, max(least, rows))
      } else {
        rows = min(most, Self.rowsOfDevice)
      }
    }
    let before = 2 * rows
    // Kernels are compiled and memory is taken at the first run.
    _ = try Self.seconds(part, layer, rows: rows)
    func best(_ measure: () throws -> Double) throws -> Double {
      try min(measure(), measure(), measure())
    }
    self.init(
      rows: rows, keysBefore: before,
      layer: try best { try Self.seconds(part, layer, rows: rows) },
      behind: try best { try Self.seconds(part, layer, rows: rows, keysBefore: before) },
      lastRowOnly: try best {
        // The layer is told that it is the model's last one by where the part ends.
        try Self.seconds(part, layer, rows: rows, lastRowOnly: true)
      }, bytes: part.layerByteCount / max(1, part.layers.count))
  }

  private static func seconds(
    _ part: Transformer, _ layer: Int, rows: Int, keysBefore: Int = 0, lastRowOnly: Bool = false
  ) throws -> Double {
    let backend = part.backend
    let cache = try part.makeCache(
      capacity: keysBefore + rows, chunk: rows, layers: layer..<layer + 1)
    if keysBefore > 0 {
      // Zeros: what lay in memory before might be no numbers.
      let shape = part.attentionShape(layer: layer)
      let zeros = [Float](
        repeating: 0, count: keysBefore * shape.keyValueHeads * shape.headDim)
      let transfer = try part.makeTransfer(
        layer: layer, of: cache, count: keysBefore, for: .restoring)
      try transfer.setRows(at: 0..<keysBefore, keys: zeros, values: zeros)
      try transfer.close()
      cache.fill(to: keysBefore)
    }
    let hidden = try backend.makeTensor(
      backend.activationType, [rows, part.hiddenSize], purpose: "measuring a layer")
    let count = rows * part.hiddenSize
    try backend.write((0..<count).map { Float($0 * 7 % 13 - 6) / 8 }, to: hidden)
    let run = try PrefillRun(
      part, .hiddenStates(rows: rows), cache: cache,
      options: PrefillOptions(lastLayerLastRowOnly: lastRowOnly))
    try backend.finish()
    let (start, processor) = (ContinuousClock.now, ProcessorTime.ofProcess())
    try run.supply(hidden)
    while true {
      if case .finished = try run.advance() { break }
    }
    let seconds = (ContinuousClock.now - start).inSeconds
    // A processor that other programs use is no slower for that.
    return backend.capabilities.hasUnifiedMemory
      ? min(seconds, ProcessorTime.ofProcess() - processor) : seconds
  }
}

extension PipelineCosts {
  /// Costs of a layer on the fastest device of those that were measured. What was not measured is scaled from
  /// a device whose costs are known.
  public init(_ shape: PipelineShape, measured: MeasuredLayers, scaling device: Device) {
    self.init(shape, device: device)
    guard let fastest = measured.devices.min(by: { $0.layer < $1.layer }),
      let last = measured.devices.last
    else { return }
    let rows = Double(fastest.rows)
    let pairs = (fastest.behind - fastest.layer) / (rows * Double(fastest.keysBefore))
    if pairs > 0 { perPair = pairs }
    let linear = (fastest.layer - perChunk - perPair * rows * (rows + 1) / 2) / rows
    guard linear > 0 else { return }
    perKey *= linear / perToken
    perToken = linear
    lastLayerPerToken = linear * max(0, 1 + measured.lastLayerSaving)
    if let output = measured.output {
      self.output = output * fastest.layer / max(last.layer, 1e-9)
    }
  }
}
