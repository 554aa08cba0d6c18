import ArgumentParser
import Benchmarks
import JSON
import MInference
import TextReports

/// `minference bench decode`: tokens a second, of one sequence and of several together.
struct BenchDecodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Tokens a second behind a prompt, of one sequence and of several together.",
    discussion: """
      The median step counts, with the choice of its tokens. Bytes are those that a step reads at \
      least: every matrix once, the experts that are asked, keys and values. On a GPU they are put \
      beside what a copy on the device reads and writes in a second, and steps are timed with \
      launches that overlap and with launches in turn; logits have to be the same.

      Example: minference bench decode --model DIR --context 4K --batch 16
      """)

  @Option(help: ArgumentHelp("A checkpoint's directory or GGUF file.", valueName: "path"))
  var model: String?

  @Option(
    help: ArgumentHelp(
      "Measure a model shape with made-up weights, keys and values instead: "
        + "\(ModelShape.names.joined(separator: ", ")), or a config.json.", valueName: "shape"))
  var shape: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sequences that are decoded together, beside one.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var batch: Size = Size(value: 1)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens before the first decoded one.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var context: Size = Size(value: 512)

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Steps that are timed.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var steps: Size = Size(value: 64)

  @OptionGroup var device: DeviceArguments
  @OptionGroup var attention: AttentionArguments

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    guard batch.value > 0, context.value > 0, steps.value > 0 else {
      throw ValidationError("--batch, --context and --steps are at least 1")
    }
  }

  mutating func run() async throws {
    if let shape {
      let command = self
      return try await WorkerThread.run {
        let member = try command.device.makeMembers()[0]
        let benchmark = try DecodeBenchmark(
          shape: shape, backend: member.backend,
          keyValues: command.attention.sessionOptions().keyValues)
        try command.measure(benchmark) { $0.describingBuild(on: [member.backend]) }
      }
    }
    let directory = try self.model ?? ModelDirectory.builtIn()
    let model = try await attention.load(directory: directory, device: device)
    let command = self
    let prompt = try PrefillMeasurement.prompt(of: context.value, from: nil, for: model)
    try await WorkerThread.run {
      try command.measure(
        DecodeBenchmark(
          model: model, prompt: prompt, keyValues: command.attention.sessionOptions().keyValues)
      ) { $0.describingBuild(of: model) }
    }
  }

  private func measure(
    _ benchmark: DecodeBenchmark, describe: (JSONValue) -> JSONValue
  ) throws {
    let counts = batch.value == 1 ? [1] : [1, batch.value]
    let rows = try counts.flatMap {
      try benchmark.measure(sequences: $0, context: context.value, steps: steps.value)
    }
    try StandardOutput.write(
      json
        ? describe(DecodeBenchmark.json(rows)).serialized() + "\n" : DecodeBenchmark.table(rows))
  }
}
