import EvaluationTasks
import TextReports
import ArgumentParser
import MInference

/// `minference demo`: one long document, read densely and sparsely, side by side.
struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Reads a long document twice, dense and sparse, and compares answers and times.",
    discussion: """
      Writes a document with facts hidden at several depths and asks for them. The model is the one \
      that came with the package, unless --model or MINFERENCE_MODEL names another.

      Example: minference demo --length 128K
      """)

  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory, a GGUF file, or ORG/NAME; the model that came with the package if "
        + "not given.", valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of the prompt, such as 128K; 32,768 if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var length: Size = Size(value: 32768)

  @Option(help: ArgumentHelp("Seed of the document's text.", valueName: "s"))
  var documentSeed: UInt64 = 1

  @OptionGroup var device: DeviceArguments
  @OptionGroup var attention: AttentionArguments

  mutating func run() async throws {
    let directory = try self.model ?? ModelDirectory.builtIn()
    let model = try await attention.load(directory: directory, device: device)
    let document = try DemoDocument(
      promptTokens: length.value, for: model, seed: documentSeed)
    attention.notices(for: model).forEach(StandardError.note)
    try await warmUp(model)

    var dense = attention
    dense.attention = .dense
    let mode = attention.attention.rawValue
    try StandardOutput.write(introduction(document, model: model, mode: mode))
    let denseReading = try await read(document, with: model, dense, label: "dense")
    let sparseReading = try await read(document, with: model, attention, label: mode)

    try StandardOutput.write(
      Self.answers(document, dense: denseReading, sparse: sparseReading, mode: mode))
    try StandardOutput.write(
      Self.figures(dense: denseReading.metrics, sparse: sparseReading.metrics, mode: mode))
    if attention.watching.monitor != nil, let report = sparseReading.metrics.prefill {
      StandardError.write(MonitorText.lines(report))
    }
  }

  /// A first short reading, so that the one that happens to come first does not pay for page faults
  /// and the start of threads.
  private func warmUp(_ model: LanguageModel) async throws {
    let document = try DemoDocument(promptTokens: 1024, for: model)
    _ = try await DemoReading.read(
      document, with: model, options: attention.sessionOptions(), progress: { _ in })
  }

  private func read(
    _ document: DemoDocument, with model: LanguageModel, _ attention: AttentionArguments,
    label: String
  ) async throws -> DemoReading {
    let progress = ProgressLine(label: label)
    defer { progress.finish() }
    var options = attention.sessionOptions()
    // Sampled rows are compared with dense attention; the time that takes is in no figure.
    options.measuresRecall = attention.attention != .dense
    return try await DemoReading.read(document, with: model, options: options) {
      progress.update(fraction: $0.fraction, totalTokens: $0.tokens)
    }
  }

  private func introduction(
    _ document: DemoDocument, model: LanguageModel, mode: String
  ) -> String {
    let depths = document.needles.map { Quantity.fixed($0.depth * 100, 0) + " %" }
    return """
      \(model.directory) reads \(Quantity.grouped(document.text.utf8.count)) characters of a \
      made-up chronicle with
      \(document.needles.count) facts hidden at \(depths.sorted().joined(separator: ", ")) of its \
      length: first with dense attention, then with \(mode).


      """
  }

  private static func answers(
    _ document: DemoDocument, dense: DemoReading, sparse: DemoReading, mode: String
  ) -> String {
    var text = ""
    let width = max(mode.count, "expected".count)
    func line(_ label: String, _ answer: String, _ mark: String) -> String {
      let answer = answer.split(whereSeparator: \.isNewline).joined(separator: " ")
      return "  \(Quantity.padRight(label, to: width))  \(answer)\(mark)\n"
    }
    for (number, needle) in document.needles.enumerated() {
      let depth = Quantity.fixed(needle.depth * 100, 0)
      text += "\(needle.question)  (at \(depth) %)\n"
      text += line("expected", needle.answer, "")
      for (label, reading) in [("dense", dense), (mode, sparse)] {
        let answer = reading.answers[number]
        text += line(label, answer, needle.isAnswered(by: answer) ? "  (right)" : "  (wrong)")
      }
      text += "\n"
    }
    let total = document.needles.count
    let same = dense.answers == sparse.answers ? "the same answers" : "not all answers the same"
    text += "dense \(dense.correct(document)) of \(total) right, "
    text += "\(mode) \(sparse.correct(document)) of \(total) right, \(same)\n\n"
    return text
  }

  private static func figures(
    dense: GenerationMetrics, sparse: GenerationMetrics, mode: String
  ) -> String {
    var table = TextTable(header: ["", "dense", mode])
    func add(_ name: String, _ value: (GenerationMetrics) -> String) {
      table.append([name, value(dense), value(sparse)])
    }
    add("prompt tokens") { Quantity.grouped($0.promptTokens) }
    add("time to first token") { Quantity.seconds($0.timeToFirstToken) }
    add("prefill tokens/s") { Quantity.grouped(Int($0.prefillTokensPerSecond)) }
    add("density") { Quantity.percent($0.prefill?.density ?? 1) }
    add("index") { Quantity.seconds($0.prefill?.indexSeconds ?? 0) }
    add("attention kernel") { Quantity.seconds($0.prefill?.kernelSeconds ?? 0) }
    add("everything else") { Quantity.seconds($0.prefill?.otherSeconds ?? 0) }
    if let recall = sparse.prefill?.recall {
      table.append(["recall, mean over heads", "1", Quantity.fixed(recall.mean, 3)])
      table.append(["recall, worst head", "1", Quantity.fixed(recall.worst.mean, 3)])
    }
    let ratio = dense.timeToFirstToken / sparse.timeToFirstToken
    return table.text + "\n\(mode) gave the first token \(Quantity.fixed(ratio, 2)) times as fast\n"
  }
}
