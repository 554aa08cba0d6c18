import ArgumentParser
import EvaluationTasks
import MInference

/// `minference evaluate scenarios`: the paper's six scenarios in one table.
struct EvaluateScenariosCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scenarios",
    abstract: "Six scenarios, dense and sparse side by side, on books and code of your own.",
    discussion: """
      questions: a line of a book is continued, or a name that was left out of it is given. code: a \
      function of a code base is given back. retrieval: one fact among many that resemble it. hops: a \
      chain of assignments. summaries: ROUGE-L to the first method's summary, and where they part. \
      mathematics: a word problem among noise, and the largest or smallest of many numbers. Questions \
      and summaries need --books, code needs --code; the others are made from the seed. Prompt and \
      answer have exactly the length asked for (hops: at most).

      Example: minference evaluate scenarios --model DIR --books one.txt two.txt --code \
      /usr/lib/python3 --lengths 8K,32K --prompts 25 --results scenarios.jsonl
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Option(
    name: [.customLong("scenarios"), .customLong("kinds")],
    help: ArgumentHelp(
      "Scenarios, separated by commas, or all: "
        + "\(Scenario.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "name"),
    completion: .list(Scenario.allCases.map(\.rawValue) + ["all"]),
    transform: { text in
      try Scenario.named(
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
    })
  var scenarios: [Scenario] = Scenario.allCases

  @Option(
    name: [.customLong("books"), .customLong("text")], parsing: .upToNextOption,
    help: ArgumentHelp("UTF-8 texts for questions and summaries.", valueName: "file"),
    completion: .file())
  var books: [String] = []

  @Option(
    help: ArgumentHelp(
      "A folder with source files (Python's standard library, for one); those in it count too.",
      valueName: "dir"), completion: .directory)
  var code: String?

  @OptionGroup var length: LengthArguments

  @Option(
    name: [.customLong("prompts"), .customLong("samples")], parsing: .unconditional,
    help: ArgumentHelp("Prompts of each scenario and length.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var prompts: Size = Size(value: 25)

  @Option(help: ArgumentHelp("Seed of the prompts.", valueName: "s"))
  var seed: UInt64 = 1

  mutating func run() async throws {
    var task = ScenarioTask(
      scenarios: scenarios, lengths: [1], prompts: prompts.value, seed: seed,
      books: books.isEmpty ? nil : try BookShelf(contentsOf: books),
      code: try code.map { try CodeBase(contentsOf: $0) })
    // What a scenario lacks is known without a model.
    _ = try task.plans()
    let model = try await shared.load()
    let lengths = try length.usable(by: model)
    task.lengths = lengths.values
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: lengths.longest, measuringRecall: form.monitor),
      form: form.form(of: model))
    let records = try await shared.records(
      shared.fitting(task.plans(), on: runner), on: runner,
      run: shared.run(
        "scenarios",
        [
          (name: "seed", value: "\(seed)"), (name: "prompts", value: "\(prompts.value)"),
          (name: "books", value: books.joined(separator: " ")),
          (name: "code", value: code ?? "none"), (name: "form", value: form.description),
          // Summaries are scored by the first method's.
          (name: "compared with", value: runner.methods.first ?? ""),
        ]))
    let summary = ScenarioSummary(records, methods: runner.methods)
    try shared.output.write(json: summary.json, markdown: summary.markdown, of: model)
    try lengths.finish()
  }
}
