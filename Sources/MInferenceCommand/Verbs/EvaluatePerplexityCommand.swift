import EvaluationTasks
import TextReports
import ArgumentParser
import JSON
import MInference

/// The text that perplexity and recall are measured on.
struct EvaluationTextArguments: ParsableArguments {
  @Option(help: ArgumentHelp("A UTF-8 file; the demo's chronicle if not given.", valueName: "file"))
  var text: String?

  @Option(
    help: ArgumentHelp("Prompt lengths, separated by commas.", valueName: "n,n"),
    transform: { try Lengths.parsed($0) })
  var lengths: [Size] = [4096, 8192, 16384, 32768].map { Size(value: $0) }

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Windows of each length, evenly apart in the text.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var windows: Size = Size(value: 1)

  /// The text of the file, or a chronicle that is long enough.
  func read() throws -> String {
    if let text { return try InputText.read(path: text) }
    return try EvaluationText.chronicle(
      tokens: (lengths.map(\.value).max() ?? 0) * windows.value)
  }
}

/// `minference evaluate perplexity`: perplexity by length.
struct EvaluatePerplexityCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "Perplexity of a text by length, and its ratio to the first kind of attention.")

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var source: EvaluationTextArguments

  mutating func run() async throws {
    let text = try source.read()
    let model = try await shared.load()
    try EvaluateArguments.check(source.lengths, for: model)
    let runner = LanguageModelRunner(
      model, methods: try shared.methods(for: model, length: source.lengths.map(\.value).max() ?? 0)
    )
    let progress = EvaluationProgress()
    defer { progress.finish() }
    let records = try await PerplexityRun(
      lengths: source.lengths.map(\.value), windows: source.windows.value
    ).run(
      text, on: runner, results: shared.results,
      run: shared.run(
        "perplexity",
        [
          (name: "text", value: source.text ?? "chronicle"),
          (name: "windows", value: "\(source.windows.value)"),
        ])
    ) { progress.update($0) }
    progress.finish()
    let summary = PerplexitySummary(records, methods: runner.methods)
    try StandardOutput.write(shared.json ? summary.json.serialized() + "\n" : summary.markdown)
  }
}

/// `minference evaluate recall`: what every head keeps of dense attention.
struct EvaluateRecallCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recall",
    abstract: "Recall and density of every layer and head, against dense attention.")

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var source: EvaluationTextArguments

  mutating func run() async throws {
    let text = try source.read()
    let model = try await shared.load()
    try EvaluateArguments.check(source.lengths, for: model)
    // Dense attention keeps everything; there is nothing to measure.
    let methods = try shared.methods(
      for: model, length: source.lengths.map(\.value).max() ?? 0
    ).filter { $0.name != AttentionMode.dense.rawValue }
    guard !methods.isEmpty else {
      throw CommandFailure(.usage, "--attention: dense alone loses nothing; name a sparse kind")
    }
    let runner = LanguageModelRunner(model, methods: methods)
    let progress = EvaluationProgress()
    defer { progress.finish() }
    let records = try await RecallRun(
      lengths: source.lengths.map(\.value), windows: source.windows.value
    ).run(
      text, on: runner, results: shared.results,
      run: shared.run(
        "recall",
        [
          (name: "text", value: source.text ?? "chronicle"),
          (name: "windows", value: "\(source.windows.value)"),
        ])
    ) { progress.update($0) }
    progress.finish()
    try StandardOutput.write(
      shared.json
        ? RecallRun.json(records).serialized() + "\n"
        : RecallRun.markdown(records, methods: runner.methods))
  }
}
