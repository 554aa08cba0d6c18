import EvaluationTasks
import ArgumentParser
import MInference

/// Which model is evaluated, by which kinds of attention, and where results go.
struct EvaluateArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory; the model that came with the package if not given.",
      valueName: "dir"))
  var model: String?

  @OptionGroup var device: DeviceArguments

  @Option(
    help: ArgumentHelp(
      "Kinds of attention, separated by commas: "
        + "\(AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "mode,mode"),
    transform: { text in
      let modes = try text.split(separator: ",", omittingEmptySubsequences: false).map { name in
        guard let mode = AttentionMode(rawValue: String(name)) else {
          let known = AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")
          throw ValidationError("\"\(name)\" is not known; give some of \(known)")
        }
        return mode
      }
      guard Set(modes).count == modes.count else {
        throw ValidationError("\"\(text)\" names a kind twice; name each once")
      }
      return modes
    })
  var attention: [AttentionMode] = EvaluateArguments.standardAttention

  private static let standardAttention: [AttentionMode] = [.dense, .minference]

  /// Whether --attention names other kinds than it does of itself.
  var isAttentionGiven: Bool { attention != EvaluateArguments.standardAttention }

  @OptionGroup var budgets: BudgetArguments

  @Option(
    help: ArgumentHelp(
      "Pattern file; patterns.json of the model's directory if not given.", valueName: "file"))
  var patterns: String?

  @Flag(help: "The paper's selection to the letter: no crossover, no dense fallback.")
  var exact = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens of the prompt read at once; all of them if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var chunk: Size?

  @Option(
    help: ArgumentHelp(
      "A UTF-8 file whose indices the kind static applies to all prompts; a chronicle of its own if "
        + "not given.", valueName: "file"))
  var calibration: String?

  @Option(
    help: ArgumentHelp(
      "A file of JSON lines that results are added to, and read from.", valueName: "file"))
  var results: String?

  @Flag(help: "Print one JSON object instead of tables.")
  var json = false

  /// The model, with its notices told.
  func load() async throws -> LanguageModel {
    let directory = try model ?? ModelDirectory.builtIn()
    let model = try await LanguageModel.load(
      device.loadOptions(directory: directory, patterns: patterns))
    var told: Set<String> = []
    let notices = model.notices + attention.flatMap { model.notices(for: options($0)) }
    for notice in notices where told.insert(notice).inserted { StandardError.note(notice) }
    return model
  }

  private func options(_ mode: AttentionMode) -> AttentionOptions {
    let budgets = budgets.budgets
    // A budget given for one kind is no mistake for another.
    let unused = Set(mode.unusedBudgets(budgets, hasPatternFile: false))
    return AttentionOptions(mode: mode, budgets: budgets.without(unused), exact: exact)
  }

  /// The kinds of attention as methods of a run.
  ///
  /// - Parameter length: the run's longest prompt. Static indices are those of a calibration prompt
  ///   of that length.
  func methods(
    for model: LanguageModel, length: Int, measuringRecall: Bool = false
  ) throws -> [LanguageModelRunner.Method] {
    try attention.map { mode in
      var options = options(mode)
      if mode == .static {
        options.calibratedSelections = try calibratedSelections(options, model, length: length)
      }
      return LanguageModelRunner.Method(
        name: mode.rawValue,
        options: SessionOptions(
          attention: options, chunk: chunk?.value,
          measuresRecall: measuringRecall && mode != .dense))
    }
  }

  private func calibratedSelections(
    _ options: AttentionOptions, _ model: LanguageModel, length: Int
  ) throws -> SelectionMemory.Selections {
    let text = try calibration.map { try InputText.read(path: $0) }
    let ids = try EvaluationText.tokens(
      length, of: text, seed: EvaluationText.calibrationSeed, for: model)
    let progress = ProgressLine(label: "calibration")
    defer { progress.finish() }
    return try IndexSurvey.keptSelections(
      model, tokens: ids, planner: try model.planner(for: options)
    ) { progress.update(fraction: $0, totalTokens: ids.count) }
  }

  /// What tells this run's results from another's; the kinds of attention may differ.
  func run(_ suite: String, _ more: [(name: String, value: String)]) throws
    -> [(name: String, value: String)]
  {
    let narrow = [
      device.linear == .bf16 ? "" : "linear \(device.linear.rawValue)",
      device.attentionPrecision == .native
        ? "" : "attention \(device.attentionPrecision.rawValue)",
    ]
    let budgets = ([budgets.description] + narrow + (chunk.map { ["chunk \($0.value)"] } ?? []))
      .filter { !$0.isEmpty }.joined(separator: ", ")
    return try [
      (name: "suite", value: suite), (name: "model", value: model ?? ModelDirectory.builtIn()),
      (name: "patterns", value: patterns ?? "the model's own"),
      (name: "budgets", value: budgets.isEmpty ? "defaults" : budgets),
      // Tiles and number formats of devices differ, and so do results.
      (name: "device", value: device.device.resolved.rawValue),
      (name: "exact", value: "\(exact)"), (name: "calibration", value: calibration ?? "chronicle"),
    ] + more
  }

  /// Lengths that the model's context has room for, all of them.
  static func check(_ lengths: [Size], for model: LanguageModel) throws {
    for length in lengths where length.value > model.contextLength {
      throw CommandFailure(
        .usage,
        "--lengths: \(length.value) tokens are more than the model's context of "
          + "\(model.contextLength); give at most that")
    }
  }
}

/// Prompt lengths, separated by commas.
struct Lengths {
  static func parsed(_ text: String) throws -> [Size] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map {
      try Size.parsed(String($0))
    }
  }
}

/// How tasks are put to the model.
struct TaskFormArguments: ParsableArguments {
  @Flag(help: "Put prompts as plain text, without the chat form.")
  var raw = false

  @Flag(
    name: .customLong("no-answer-prefix"),
    help: "Do not give the model the beginning of the answer.")
  var withoutAnswerPrefix = false

  @Flag(help: "Measure recall on sampled rows of every prompt. Costs time, which is in no figure.")
  var monitor = false

  func form(of model: LanguageModel, maximumTokens: Int? = nil) -> LanguageModelRunner.Form {
    // A model without a chat template has no other form.
    let hasChat = (try? model.encode(.user("x"))) != nil
    return LanguageModelRunner.Form(
      usesChat: !raw && hasChat, givesAnswerPrefix: !withoutAnswerPrefix,
      maximumTokens: maximumTokens)
  }

  var description: String {
    (raw ? "raw" : "chat") + (withoutAnswerPrefix ? "" : " with the answer's beginning")
  }
}
