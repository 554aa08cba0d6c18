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
      own, and may be given several times: --method antidiagonal,share=0.6,floor=0.05 --method \
      patterns=FILE.
      """)

  @OptionGroup var shared: EvaluateArguments

  @Option(
    name: .customLong("method"),
    help: ArgumentHelp(
      "A kind of attention with budgets, KIND,NAME=NUMBER,..., or patterns=FILE; in place of "
        + "--attention unless that is given too.", valueName: "method"),
    transform: { try AttentionMethod.parsed($0) })
  var given: [AttentionMethod] = []

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("UTF-8 files; the demo's chronicle if none is given.", valueName: "file"))
  var text: [String] = []

  @Option(
    help: ArgumentHelp(
      "Lengths of texts and prompts, separated by commas; 8K and 32K, or the model's context.",
      valueName: "n,n"),
    transform: { try Lengths.parsed($0) })
  var lengths: [Size] = []

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
  var last: Size?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Retrieval prompts of each length.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var prompts = Size(value: 3)

  @Option(help: ArgumentHelp("Seed of the retrieval prompts.", valueName: "s"))
  var seed: UInt64 = RetrievalPrompt.judgingSeed

  func validate() throws {
    let kinds = given.isEmpty || shared.isAttentionGiven ? shared.methods.attention.map(\.rawValue) : []
    let names = (kinds + given.map(\.name)).filter { $0 != AgreementRun.reference }
    guard !names.isEmpty else {
      throw ValidationError(
        "dense attention alone agrees with itself; name a sparse kind with --attention or --method")
    }
    if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
      throw ValidationError("\(twice) is named twice; name each way once")
    }
  }

  mutating func run() async throws {
    let texts = try text.map { (name: $0, text: try InputText.read(path: $0)) }
    let model = try await shared.load()
    try EvaluateArguments.check(lengths, for: model)
    let methods = try methods(for: model)
    let lengths =
      lengths.isEmpty
      ? Set([8192, 32768].map { min($0, model.contextLength) }).sorted() : lengths.map(\.value)
    var samples: [AgreementSample] = []
    var lengthOfSample: [String: Int] = [:]
    for length in lengths {
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
    try StandardOutput.write(shared.json ? summary.json.serialized() + "\n" : summary.markdown)
  }

  /// The ways that are compared with dense attention.
  private func methods(for model: LanguageModel) throws -> [AgreementRun.Method] {
    var methods: [AgreementRun.Method] = []
    if given.isEmpty || shared.isAttentionGiven {
      methods = try shared.methods(for: model, length: 0).map { method in
        AgreementRun.Method(
          name: method.name, planner: try model.planner(for: method.options.attention),
          chunk: method.options.chunk)
      }
    }
    methods += try given.map {
      AgreementRun.Method(
        name: $0.name, planner: try $0.planner(for: model, exact: shared.exact),
        chunk: shared.chunk?.value)
    }
    methods.removeAll { $0.name == AgreementRun.reference }
    return methods
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
    let windowed = PerplexityRun(lengths: [length], windows: windows.value)
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
          text: Array(ids[start..<start + length]), positions: positions.value, last: last?.value)
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
          value: "\(positions.value)" + (last.map { " of the last \($0.value)" } ?? "")
        ),
      ])
  }
}
