import ArgumentParser
import EvaluationTasks
import MInference

/// The text that something is measured on, token by token.
struct EvaluationTextArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("A UTF-8 file; the demo's chronicle if not given.", valueName: "file"),
    completion: .file())
  var text: String?

  @OptionGroup var length: LengthArguments

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Windows of each length, evenly apart in the text.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var windows: Size = Size(value: 1)

  /// The text of the file; nil: none is given.
  func read() throws -> String? { try text.map { try InputText.read(path: $0) } }

  /// The text that was read, or a chronicle that is long enough.
  func text(_ read: String?, for lengths: UsableLengths) throws -> String {
    try read ?? EvaluationText.chronicle(tokens: lengths.longest * windows.value)
  }

  /// What tells results with these settings from others.
  var run: [(name: String, value: String)] {
    [(name: "text", value: text ?? "chronicle"), (name: "windows", value: "\(windows.value)")]
  }
}

/// `minference evaluate perplexity`: perplexity by length.
struct EvaluatePerplexityCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "Perplexity of a text by length, and its ratio to the first kind of attention.",
    discussion: """
      Example: minference evaluate perplexity --model DIR --text book.txt --lengths 8K,32K --windows 2
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var source: EvaluationTextArguments

  mutating func run() async throws {
    let text = try source.read()
    let model = try await shared.load()
    let lengths = try source.length.usable(by: model)
    let runner = LanguageModelRunner(
      model, methods: try shared.methods(for: model, length: lengths.longest))
    let progress = EvaluationProgress()
    defer { progress.finish() }
    let records = try await PerplexityRun(lengths: lengths.values, windows: source.windows.value)
      .run(
        try source.text(text, for: lengths), on: runner, results: shared.results,
        run: shared.run("perplexity", source.run)
      ) { progress.update($0) }
    progress.finish()
    let summary = PerplexitySummary(records, methods: runner.methods)
    try shared.output.write(json: summary.json, markdown: summary.markdown, of: model)
    try lengths.finish()
  }
}

/// `minference evaluate recall`: what every head keeps of dense attention.
struct EvaluateRecallCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recall",
    abstract: "Recall and density of every layer and head, against dense attention.",
    discussion: """
      Example: minference evaluate recall --model DIR --text book.txt --lengths 8K
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var source: EvaluationTextArguments

  mutating func run() async throws {
    let text = try source.read()
    let model = try await shared.load()
    let lengths = try source.length.usable(by: model)
    // Dense attention keeps everything; there is nothing to measure.
    let methods = try shared.methods(for: model, length: lengths.longest)
      .filter { $0.name != AttentionMode.dense.rawValue }
    guard !methods.isEmpty else {
      throw CommandFailure(.usage, "--attention: dense alone loses nothing; name a sparse kind")
    }
    let runner = LanguageModelRunner(model, methods: methods)
    let progress = EvaluationProgress()
    defer { progress.finish() }
    let records = try await RecallRun(lengths: lengths.values, windows: source.windows.value).run(
      try source.text(text, for: lengths), on: runner, results: shared.results,
      run: shared.run("recall", source.run)
    ) { progress.update($0) }
    progress.finish()
    try shared.output.write(
      json: RecallRun.json(records), markdown: RecallRun.markdown(records, methods: runner.methods),
      of: model)
    try lengths.finish()
  }
}
