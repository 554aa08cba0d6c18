import TextReports
import ArgumentParser
import JSON
import MInference

/// `minference score`: how likely a model finds given tokens.
struct ScoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Log-probability and most likely id of every next token.",
    discussion: """
      Reads ids separated by blanks, as tokenize prints them.

      Example: minference score --model DIR --tokens ids.txt --json
      """)

  @OptionGroup var model: ModelArguments
  @OptionGroup var attention: AttentionArguments
  @OptionGroup var trace: TraceArguments

  @Option(
    help: ArgumentHelp("A file of token ids; - for standard input.", valueName: "file"),
    completion: .file())
  var tokens: String

  @Flag(help: "Print one JSON object: logprobs and argmax.")
  var json = false

  mutating func run() async throws {
    try await model.device.serveRank(
      directory: model.model, configuration: model.configuration)
    let text =
      tokens == "-"
      ? try InputText.readStandardInput() : try InputText.read(path: tokens)
    let file = tokens == "-" ? "standard input" : tokens
    let ids = try Self.parse(text, file: file)
    let model = try await attention.load(self.model)
    try Self.check(ids, file: file, model: model)
    try trace.begin(model)
    let progress = ProgressLine(label: "score", notices: attention.notices(for: model))
    let score = try await model.score(ids, options: attention.sessionOptions()) {
      progress.update(fraction: $0.fraction, totalTokens: $0.tokens)
    }
    progress.finish()
    try trace.write(model)
    try StandardOutput.write(
      json ? Self.json(score).describingBuild(of: model).serialized() + "\n" : Self.summary(score))
    if attention.watching.monitor != nil {
      StandardError.write(MonitorText.lines(score.report))
    }
  }

  /// Ids separated by white space.
  static func parse(_ text: String, file: String) throws -> [Int32] {
    let words = text.utf8.split { $0 == 0x20 || (0x09...0x0D).contains($0) }
    let ids = try words.enumerated().map { number, word in
      guard let id = Int32(String(Substring(word))), id >= 0 else {
        throw CommandFailure(
          .inputData,
          "\(file): word \(number + 1), \(quoted(String(Substring(word)), limit: 20)), is no token id; "
            + "give ids separated by blanks, as tokenize prints them")
      }
      return id
    }
    guard !ids.isEmpty else {
      throw CommandFailure(
        .inputData, "\(file): holds no token ids; give some, as tokenize prints them")
    }
    return ids
  }

  private static func check(_ ids: [Int32], file: String, model: LanguageModel) throws {
    let vocabulary = model.transformer.vocabularySize
    if let number = ids.firstIndex(where: { Int($0) >= vocabulary }) {
      throw CommandFailure(
        .inputData,
        "\(file): word \(number + 1) is id \(ids[number]), but the model's vocabulary ends before "
          + "\(vocabulary); tokenize with this model's tokenizer")
    }
    guard ids.count <= model.contextLength else {
      throw CommandFailure(
        .inputData,
        "\(file): holds \(Quantity.grouped(ids.count)) tokens and the model's context is "
          + "\(Quantity.grouped(model.contextLength)); "
          + "give fewer")
    }
  }

  private static func json(_ score: TextScore) -> JSONValue {
    let figures: [(String, JSONValue)] = [
      ("tokens", .integer(score.mostLikely.count)),
      ("logprobs", .array(score.logProbabilities.map { .number(Double($0)) })),
      ("argmax", .array(score.mostLikely.map { .integer(Int($0)) })),
      ("perplexity", score.perplexity.map { .number($0) } ?? .null),
      ("density", .number(score.report.density)),
    ]
    let monitor = score.report.monitor.map { [("monitor", MonitorText.json($0))] } ?? []
    return .object(figures + monitor)
  }

  private static func summary(_ score: TextScore) -> String {
    let perplexity = score.perplexity.map { Quantity.fixed($0, 4) } ?? "-"
    return "\(Quantity.grouped(score.mostLikely.count)) tokens, perplexity \(perplexity), "
      + "\(Quantity.seconds(score.report.seconds)), density "
      + "\(Quantity.percent(score.report.density))\n"
  }
}
