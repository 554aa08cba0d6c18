import ArgumentParser
import EvaluationTasks
import MInference

/// Kinds of attention that are put side by side.
struct MethodArguments: ParsableArguments {
  @Option(
    name: [.customLong("attention"), .customLong("methods")],
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
  var attention: [AttentionMode] = MethodArguments.standardAttention

  private static let standardAttention: [AttentionMode] = [.dense, .minference]

  /// Whether --attention names other kinds than it does of itself.
  var isAttentionGiven: Bool { attention != MethodArguments.standardAttention }

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

  func options(_ mode: AttentionMode) -> AttentionOptions {
    let budgets = budgets.budgets
    // A budget given for one kind is no mistake for another.
    let unused = Set(mode.unusedBudgets(budgets, hasPatternFile: false))
    return AttentionOptions(mode: mode, budgets: budgets.without(unused), exact: exact)
  }

  /// The kinds of attention as methods of a run.
  ///
  /// - Parameter length: The run's longest prompt. Static indices are those of a calibration prompt
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
}
