import ArgumentParser
import EvaluationTasks
import JSON
import MInference

/// `minference evaluate agreement`: what sparse attention changes in what a model says.
struct EvaluateAgreementCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agreement",
    abstract: "KL divergence, same most likely token and perplexity ratio against dense attention.",
    discussion: """
      Every text and prompt is read once densely and once by each method; next-token distributions are \
      compared on the device at sampled positions, by parts of the text. Texts are --text files, or \
      the demo's chronicle; retrieval prompts are generated: 24 facts, 8 questions, the answers given, \
      counted token by token. Dense attention is always the reference.

      --attention names kinds that share the budget flags; --method names one way with budgets of its \
      own, and may be given several times.

      Example: minference evaluate agreement --model DIR --text one.txt two.txt --lengths 8K,32K \
      --method antidiagonal,share=0.6,floor=0.05 --method patterns=FILE
      """)

  @OptionGroup var shared: EvaluateArguments

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("UTF-8 files; the demo's chronicle if none is given.", valueName: "file"),
    completion: .file())
  var text: [String] = []

  @OptionGroup var length: LengthArguments

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Windows of each length in each text, evenly apart.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var windows = Size(value: 1)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Positions of each window that are compared, evenly apart.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var positions = Size(value: 1024)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Compare positions in the last so many tokens of a window alone.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var lastTokens: Size?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Retrieval prompts of each length.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var prompts = Size(value: 3)

  @Option(help: ArgumentHelp("Seed of the retrieval prompts.", valueName: "s"))
  var seed: UInt64 = RetrievalPrompt.judgingSeed

  func validate() throws {
    guard shared.methods.names.contains(where: { $0 != AgreementRun.reference }) else {
      throw ValidationError(
        "dense attention alone agrees with itself; name a sparse kind with --attention or --method")
    }
  }

  mutating func run() async throws {
    let texts = try text.map { (name: $0, text: try InputText.read(path: $0)) }
    let model = try await shared.load()
    let lengths = try length.usable(by: model, standard: [8192, 32768])
    let methods = try methods(for: model)
    var samples: [AgreementSample] = []
    var lengthOfSample: [String: Int] = [:]
    for length in lengths.values {
      let found = try self.samples(length, texts, model)
      for sample in found { lengthOfSample[sample.name] = length }
      samples += found
    }
    let progress = EvaluationProgress()
    defer { progress.finish() }
    let records = try await AgreementRun(samples).run(
      methods, on: model, results: shared.results, run: identity()
    ) { progress.update($0) }
    progress.finish()
    let summary = AgreementSummary(
      records, methods: [AgreementRun.reference] + methods.map(\.name), lengths: lengthOfSample)
    try shared.output.write(json: summary.json, markdown: summary.markdown, of: model)
    try lengths.finish()
  }

  /// The ways that are compared with dense attention.
  private func methods(for model: LanguageModel) throws -> [AgreementRun.Method] {
    try shared.methods(for: model, length: 0)
      .filter { $0.name != AgreementRun.reference }.map { method in
        AgreementRun.Method(
          name: method.name, planner: try model.planner(for: method.options.attention),
          chunk: method.options.chunk)
      }
  }

  /// The windows and prompts of a length.
  private func samples(
    _ length: Int, _ texts: [(name: String, text: String)], _ model: LanguageModel
  ) throws -> [AgreementSample] {
    let sources: [(name: String, ids: [Int32])]
    if texts.isEmpty {
      let chronicle = try EvaluationText.tokens(
        length * windows.value, of: nil, seed: seed, for: model)
      sources = [("chronicle", chronicle)]
    } else {
      sources = texts.map { name, text in
        (name, model.tokenizer.encode(text, specialTokens: .asText, addTemplate: false))
      }
    }
    let windowed = TextWindows(lengths: [length], windows: windows.value)
    var samples = try sources.flatMap { name, ids in
      guard ids.count >= length else {
        throw CommandFailure(
          .inputData,
          "\(name): has \(ids.count) tokens and \(length) are wanted; give a longer text or smaller "
            + "--lengths")
      }
      return windowed.starts(length: length, tokens: ids.count).enumerated().map { window, start in
        AgreementSample(
          name: "\(name), \(length) tokens, window \(window)",
          text: Array(ids[start..<start + length]), positions: positions.value,
          last: lastTokens?.value)
      }
    }
    samples += try (0..<prompts.value).map { number in
      let text = texts.isEmpty ? nil : texts[number % texts.count].text
      return AgreementSample(
        name: "retrieval, \(length) tokens, prompt \(number)",
        prompt: try RetrievalPrompt(
          length: length, seed: seed &+ UInt64(number), text: text.map { .text($0) }, for: model))
    }
    return samples
  }

  private func identity() throws -> [(name: String, value: String)] {
    try shared.run(
      "agreement",
      [
        (name: "text", value: text.isEmpty ? "chronicle" : text.joined(separator: " ")),
        (name: "windows", value: "\(windows.value)"), (name: "seed", value: "\(seed)"),
        (
          name: "positions",
          value: "\(positions.value)" + (lastTokens.map { " of the last \($0.value)" } ?? "")
        ),
      ])
  }
}
