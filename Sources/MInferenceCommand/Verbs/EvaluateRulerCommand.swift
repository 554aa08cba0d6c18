import EvaluationTasks
import ArgumentParser
import MInference

/// `minference evaluate ruler`: RULER's 13 kinds, made here, or its own files.
struct EvaluateRulerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ruler",
    abstract: "The 13 kinds of RULER, in our own wording, or the files that its scripts write.",
    discussion: """
      Kinds: \(RulerKind.allCases.map(\.rawValue).joined(separator: ", ")). The qa kinds need \
      --squad and --hotpotqa. With --file the prompts of RULER's JSON lines are put as they are.
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Option(
    help: ArgumentHelp(
      "Kinds, separated by commas; all; or synthetic: all that need no file.", valueName: "kind"),
    transform: { text in
      let synthetic = RulerKind.allCases.filter { $0 != .squad && $0 != .hotpot }
      return try text == "synthetic"
        ? synthetic
        : RulerKind.named(
          text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
    })
  var kinds: [RulerKind] = RulerKind.allCases.filter { $0 != .squad && $0 != .hotpot }

  @Option(
    help: ArgumentHelp("Prompt lengths, separated by commas.", valueName: "n,n"),
    transform: { try Lengths.parsed($0) })
  var lengths: [Size] = [4096, 8192, 16384, 32768].map { Size(value: $0) }

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Prompts of each kind and length.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var samples: Size = Size(value: 25)

  @Option(help: ArgumentHelp("Seed of the tasks.", valueName: "s"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("A UTF-8 file in the place of the essays.", valueName: "file"))
  var haystack: String?

  @Option(help: ArgumentHelp("SQuAD's JSON file, for qa_1.", valueName: "file"))
  var squad: String?

  @Option(help: ArgumentHelp("HotpotQA's JSON file, for qa_2.", valueName: "file"))
  var hotpotqa: String?

  @Option(
    help: ArgumentHelp("JSON lines that RULER's scripts wrote; may be repeated.", valueName: "file")
  )
  var file: [String] = []

  mutating func run() async throws {
    let plans = try self.plans()
    let model = try await shared.load()
    if file.isEmpty { try EvaluateArguments.check(lengths, for: model) }
    // RULER's files hold complete prompts, the model's form included.
    let form = file.isEmpty ? self.form.form(of: model) : LanguageModelRunner.Form(usesChat: false)
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: file.isEmpty ? lengths.map(\.value).max() ?? 0 : model.contextLength,
        measuringRecall: self.form.monitor), form: form)
    let fitting = try TaskPlan.fitting(plans) { try runner.countTokens($0) }
    if fitting.plans.isEmpty, let first = fitting.leftOut.first { throw first }
    for kind in fitting.leftOut { StandardError.note("left out: \(ErrorText.of(kind))") }
    try await shared.evaluate(
      fitting.plans, on: runner,
      run: shared.run(
        "ruler",
        [
          (name: "seed", value: "\(seed)"), (name: "haystack", value: haystack ?? "chronicle"),
          (name: "files", value: file.joined(separator: " ")),
          (name: "form", value: self.form.description),
        ]))
  }

  private func plans() throws -> [TaskPlan] {
    guard file.isEmpty else {
      return try file.flatMap { try RulerFile.tasks($0, limit: samples.value) }.map(TaskPlan.init)
    }
    var questions: [RulerKind: QuestionCorpus] = [:]
    if let squad { questions[.squad] = try QuestionCorpus(contentsOf: squad) }
    if let hotpotqa { questions[.hotpot] = try QuestionCorpus(contentsOf: hotpotqa) }
    return try RulerTask(
      kinds: kinds, lengths: lengths.map(\.value), samples: samples.value, seed: seed,
      questions: questions, haystack: try haystack.map { .text(try InputText.read(path: $0)) }
    ).plans()
  }
}
