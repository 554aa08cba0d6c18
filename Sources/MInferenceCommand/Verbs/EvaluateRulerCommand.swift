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
      --squad and --hotpotqa. With --task-file the prompts of RULER's JSON lines are put as they are.

      Example: minference evaluate ruler --model DIR --kinds niah_multikey_1,vt --lengths 8K,32K
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Option(
    help: ArgumentHelp(
      "Kinds, separated by commas; all; or synthetic: all that need no file.", valueName: "kind"),
    completion: .list(RulerKind.allCases.map(\.rawValue) + ["all", "synthetic"]),
    transform: { text in
      let synthetic = RulerKind.allCases.filter { $0 != .squad && $0 != .hotpot }
      return try text == "synthetic"
        ? synthetic
        : RulerKind.named(
          text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
    })
  var kinds: [RulerKind] = RulerKind.allCases.filter { $0 != .squad && $0 != .hotpot }

  @OptionGroup var sample: TaskSampleArguments

  @Option(
    help: ArgumentHelp("SQuAD's JSON file, for qa_1.", valueName: "file"), completion: .file())
  var squad: String?

  @Option(
    help: ArgumentHelp("HotpotQA's JSON file, for qa_2.", valueName: "file"), completion: .file())
  var hotpotqa: String?

  @Option(
    name: [.customLong("task-file"), .customLong("file")],
    help: ArgumentHelp(
      "JSON lines that RULER's scripts wrote; may be repeated.", valueName: "file"),
    completion: .file()
  )
  var taskFiles: [String] = []

  mutating func run() async throws {
    let suite = try self.suite()
    let model = try await shared.load()
    let lengths = taskFiles.isEmpty ? try sample.length.usable(by: model) : nil
    let plans = try lengths.map { try suite($0.values) } ?? suite([])
    // RULER's files hold complete prompts, the model's form included.
    let form =
      taskFiles.isEmpty ? self.form.form(of: model) : LanguageModelRunner.Form(usesChat: false)
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: lengths?.longest ?? model.contextLength,
        measuringRecall: self.form.monitor), form: form)
    try await shared.evaluate(
      shared.fitting(plans, on: runner), on: runner,
      run: shared.run(
        "ruler",
        sample.source.run + [
          (name: "files", value: taskFiles.joined(separator: " ")),
          (name: "form", value: self.form.description),
        ]))
    try lengths?.finish()
  }

  /// The plans for given lengths, with all files read and checked before a model is loaded.
  private func suite() throws -> ([Int]) throws -> [TaskPlan] {
    guard taskFiles.isEmpty else {
      let plans = try taskFiles.flatMap {
        try RulerFile.tasks($0, limit: sample.prompts.value)
      }.map(TaskPlan.init)
      return { _ in plans }
    }
    var questions: [RulerKind: QuestionCorpus] = [:]
    if let squad { questions[.squad] = try QuestionCorpus(contentsOf: squad) }
    if let hotpotqa { questions[.hotpot] = try QuestionCorpus(contentsOf: hotpotqa) }
    let task = RulerTask(
      kinds: kinds, lengths: [], samples: sample.prompts.value, seed: sample.source.seed,
      questions: questions, haystack: try sample.source.haystack())
    // What a kind lacks is known without a length.
    _ = try task.plans()
    return { lengths in
      var task = task
      task.lengths = lengths
      return try task.plans()
    }
  }
}
