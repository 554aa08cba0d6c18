import ArgumentParser
import MInference
import MInferenceEvaluation

/// `minference bench attention`: the kernels alone, beside the matrix product of the same machine.
struct BenchAttentionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention",
    abstract: "The attention kernels, dense and sparse, beside the matrix product.",
    discussion: """
      Useful rates count 4 x head dim operations for each computed pair. Cases take turns, and the \
      median of --repeat runs counts.
      """)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of the prompt; lengths separated by commas.", valueName: "n,n"),
    transform: { text in
      try text.split(separator: ",", omittingEmptySubsequences: false).map {
        try Size.parsed(String($0), atLeast: 64)
      }
    })
  var tokens: [Size] = [Size(value: 16384)]

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Size of a head.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var headDim: Size = Size(value: 64)

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Query heads.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var heads: Size = Size(value: 6)

  @Option(
    name: .customLong("kv-heads"), parsing: .unconditional,
    help: ArgumentHelp("Key-value heads.", valueName: "n"), transform: { try Size.parsed($0) })
  var keyValueHeads: Size = Size(value: 2)

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Runs of each case.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var `repeat`: Size = Size(value: 3)

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    guard heads.value % keyValueHeads.value == 0 else {
      throw ValidationError(
        "--kv-heads: \(keyValueHeads.value) does not divide the \(heads.value) of --heads")
    }
  }

  func run() throws {
    let backend = try device.makeBackend()
    for notice in backend.notices { StandardError.note(notice) }
    var parts: [JSONText] = []
    for tokens in tokens {
      let benchmark = AttentionBenchmark(
        tokens: tokens.value,
        shape: AttentionShape(
          queryHeads: heads.value, keyValueHeads: keyValueHeads.value, headDim: headDim.value),
        repetitions: self.repeat.value)
      let measurements = try benchmark.run(on: backend) { StandardError.note($0) }
      if json {
        parts.append(Self.json(measurements, tokens: tokens.value))
      } else {
        try StandardOutput.write(
          "\(Quantity.grouped(tokens.value)) tokens, \(heads.value) / \(keyValueHeads.value) heads of "
            + "\(headDim.value)\n" + Self.table(measurements) + "\n")
      }
    }
    if json { try StandardOutput.write(JSONText.object([("lengths", .array(parts))]).text + "\n") }
  }

  private static func table(_ measurements: [AttentionBenchmark.Measurement]) -> String {
    var table = TextTable(
      header: ["case", "density", "time", "useful GFLOP/s", "of the product", "GB/s"])
    let product = measurements.first?.operationsPerSecond
    for measurement in measurements {
      let rate = measurement.operationsPerSecond
      table.append([
        measurement.name, measurement.density.map { Quantity.percent($0) } ?? "",
        Quantity.seconds(measurement.seconds), rate.map { Quantity.fixed($0 / 1e9, 1) } ?? "",
        rate.flatMap { rate in product.map { Quantity.percent(rate / $0) } } ?? "",
        measurement.bytesPerSecond.map { Quantity.fixed($0 / 1e9, 1) } ?? "",
      ])
    }
    return table.text
  }

  private static func json(
    _ measurements: [AttentionBenchmark.Measurement], tokens: Int
  ) -> JSONText {
    .object([
      ("tokens", .integer(tokens)),
      (
        "cases",
        .array(
          measurements.map { measurement in
            .object([
              ("name", .string(measurement.name)),
              ("density", measurement.density.map { .number($0) } ?? .null),
              ("seconds", .number(measurement.seconds)),
              (
                "operations_per_s",
                measurement.operationsPerSecond.map { .number($0) } ?? .null
              ),
              ("bytes_per_s", measurement.bytesPerSecond.map { .number($0) } ?? .null),
            ])
          })
      ),
    ])
  }
}
