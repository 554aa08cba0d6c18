package import JSON
package import MInference
import TextReports

/// How fast tokens are decoded, of one sequence and of several together.
package struct DecodeBenchmark {
  package struct Row: Sendable {
    /// Sequences that are decoded together.
    package var sequences: Int
    /// Tokens before the first decoded one, of each.
    package var context: Int
    /// Steps that were timed.
    package var steps: Int
    /// The median of a step, with the choice of its tokens.
    package var secondsPerStep: Double
    package var bytes: DecodingBytes
    /// Whether kernels began before those in front had ended; nil: the device has no choice.
    package var overlaps: Bool?
    /// Of the ids and of the last logits: equal for equal results.
    package var hash: UInt64
    /// What the device copies a second, bytes read and written together; nil: not measured.
    package var copiedBytesPerSecond: Double?

    package var tokensPerSecond: Double { Double(sequences) / secondsPerStep }
    package var bytesPerSecond: Double { Double(bytes.total) / secondsPerStep }
  }

  private let model: Transformer
  private let synthetic: (any SyntheticBackend)?
  /// Fills a cache with the keys and values of so many tokens.
  private let fill: (_ context: Int, _ capacity: Int) throws -> (KeyValueCache, Int32)

  /// A model behind the beginnings of a prompt.
  ///
  /// - Parameter prompt: At least as long as the longest context.
  package init(model: LanguageModel, prompt: [Int32], keyValues: KeyValueOptions) {
    let transformer = model.transformer
    self.model = transformer
    synthetic = transformer.backend as? any SyntheticBackend
    fill = { context, capacity in
      let cache = try transformer.makeCache(capacity: capacity, keyValues: keyValues)
      let result = try transformer.prefill(Array(prompt.prefix(context)), cache: cache)
      return (cache, Sampler.mostLikely(result.logits))
    }
  }

  /// A model shape with made-up weights, behind made-up keys and values.
  ///
  /// - Throws: `ComputeError.unavailable` on a device that has no synthetic inputs.
  package init(shape: String, backend: any Backend, keyValues: KeyValueOptions) throws {
    guard let synthetic = backend as? any SyntheticBackend else {
      throw ComputeError.unavailable(
        what: "a model of random weights on \(backend.name)", remedy: Remedy(use: .gpu))
    }
    let transformer = try Transformer(
      shapeOf: ModelShape.checkpoint(named: shape), backend: synthetic, seed: 1)
    model = transformer
    self.synthetic = synthetic
    fill = { context, capacity in
      (
        try transformer.makeRandomCache(
          count: context, capacity: capacity, keyValues: keyValues, backend: synthetic), 1
      )
    }
  }

  /// Decodes `steps` tokens of each of so many sequences, after a few that are not counted. A device whose
  /// launches may overlap does so with and without.
  package func measure(sequences: Int, context: Int, steps: Int) throws -> [Row] {
    guard let device = model.backend as? any LaunchOverlapping, device.overlapsLaunches else {
      return [try measure(sequences: sequences, context: context, steps: steps, overlaps: nil)]
    }
    defer { device.overlapsLaunches = true }
    return try [true, false].map { overlaps in
      device.overlapsLaunches = overlaps
      return try measure(sequences: sequences, context: context, steps: steps, overlaps: overlaps)
    }
  }

  private func measure(
    sequences: Int, context: Int, steps: Int, overlaps: Bool?
  ) throws -> Row {
    let warmUp = 4
    var caches: [KeyValueCache] = []
    var ids: [Int32] = []
    for _ in 0..<sequences {
      let (cache, id) = try fill(context, context + warmUp + steps)
      caches.append(cache)
      ids.append(id)
    }
    let decoder = BatchDecoder(model: model)
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var last: Tensor?
    func step() throws {
      let logits = try decoder.logits(behind: ids, caches: caches)
      // No number at all shows as an id that there is none of.
      ids = try model.backend.mostLikely(logits).map { $0 ?? 0 }
      for id in ids { hash = (hash ^ UInt64(UInt32(bitPattern: id))) &* 0x100_0000_01b3 }
      last = logits
    }
    for _ in 0..<warmUp { try step() }
    var seconds: [Double] = []
    for _ in 0..<steps {
      let start = ContinuousClock.now
      try step()
      seconds.append((ContinuousClock.now - start).inSeconds)
    }
    if let last {
      for number in try model.backend.read(last) {
        hash = (hash ^ UInt64(number.bitPattern)) &* 0x100_0000_01b3
      }
    }
    seconds.sort()
    return Row(
      sequences: sequences, context: context, steps: steps,
      secondsPerStep: seconds[seconds.count / 2],
      bytes: try model.decodingBytes(
        lengths: caches.map { $0.count - steps / 2 }, type: caches[0].type),
      overlaps: overlaps, hash: hash,
      copiedBytesPerSecond: try copySpeed())
  }

  /// The median of a few copies of half a gigabyte.
  private func copySpeed() throws -> Double? {
    guard let synthetic else { return nil }
    let count = 1 << 28
    let from = try synthetic.makeRandom(
      .bfloat16, [count], deviation: 1, seed: 1, purpose: "a copy")
    let to = try synthetic.makeTensor(.bfloat16, [count], purpose: "a copy")
    var seconds: [Double] = []
    for _ in 0..<5 {
      try synthetic.finish()
      let start = ContinuousClock.now
      for _ in 0..<4 { try synthetic.copy(from, to: to) }
      try synthetic.finish()
      seconds.append((ContinuousClock.now - start).inSeconds / 4)
    }
    return Double(4 * count) / seconds.sorted()[2]
  }

  package static func table(_ rows: [Row]) -> String {
    var table = TextTable(
      header: [
        "sequences", "tokens before", "tokens/s", "of each", "a step", "weights", "keys and values",
        "bytes/s", "of a copy", "launches", "logits",
      ])
    for row in rows {
      table.append([
        Quantity.grouped(row.sequences), Quantity.grouped(row.context),
        Quantity.fixed(row.tokensPerSecond, 1),
        Quantity.fixed(row.tokensPerSecond / Double(row.sequences), 1),
        Quantity.seconds(row.secondsPerStep), Quantity.bytes(row.bytes.weights),
        Quantity.bytes(row.bytes.keysAndValues), Quantity.bytes(Int(row.bytesPerSecond)),
        row.copiedBytesPerSecond.map { Quantity.percent(row.bytesPerSecond / $0) } ?? "",
        row.overlaps.map { $0 ? "overlap" : "in turn" } ?? "", String(row.hash, radix: 16),
      ])
    }
    return table.text
  }

  package static func json(_ rows: [Row]) -> JSONValue {
    .object([
      (
        "runs",
        .array(
          rows.map { row in
            .object([
              ("sequences", .integer(row.sequences)), ("context", .integer(row.context)),
              ("steps", .integer(row.steps)), ("step_s", .number(row.secondsPerStep)),
              ("tokens_per_second", .number(row.tokensPerSecond)),
              ("logits_hash", .string(String(row.hash, radix: 16))),
              ("launches_overlap", row.overlaps.map { JSONValue.boolean($0) } ?? .null),
              ("weight_bytes", .integer(row.bytes.weights)),
              ("key_value_bytes", .integer(row.bytes.keysAndValues)),
              (
                "copied_bytes_per_second",
                row.copiedBytesPerSecond.map { JSONValue.number($0) } ?? .null
              ),
            ])
          })
      )
    ])
  }
}
