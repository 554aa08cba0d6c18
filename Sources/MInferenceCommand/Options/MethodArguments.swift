import ArgumentParser
import EvaluationTasks
import MInference

/// Kinds of attention that are put side by side.
struct MethodArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Kinds of attention, separated by commas: "
        + "\(AttentionMode.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "mode,mode"),
    completion: .list(AttentionMode.allCases.map(\.rawValue)),
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

  @Option(
    name: .customLong("method"),
    help: ArgumentHelp(
      "A kind of attention with budgets of its own, KIND,NAME=NUMBER,..., or patterns=FILE; beside "
        + "dense, or beside --attention if that is given. May be repeated.", valueName: "method"),
    completion: .list(AttentionMode.allCases.map(\.rawValue) + ["patterns="]),
    transform: { try AttentionMethod.parsed($0) })
  var given: [AttentionMethod] = []

  @OptionGroup var prefill: PrefillArguments

  @Option(
    help: ArgumentHelp(
      "A UTF-8 file whose indices the kind static applies to all prompts; a chronicle of its own if "
        + "not given.", valueName: "file"), completion: .file())
  var calibration: String?

  /// The names of all methods, in the order of the tables' columns.
  var names: [String] {
    let given = given.map(\.name).filter { name in !kinds.contains { $0.rawValue == name } }
    return kinds.map(\.rawValue) + given
  }

  func validate() throws {
    var names = Set(kinds.map(\.rawValue).filter { $0 != AttentionMode.dense.rawValue })
    for method in given where !names.insert(method.name).inserted {
      throw ValidationError("--method: \(method.name) is named twice; name each way once")
    }
  }

  /// The kinds that stand before the methods with budgets of their own.
  private var kinds: [AttentionMode] { given.isEmpty || isAttentionGiven ? attention : [.dense] }

  /// Every method's name and options. Throws ``PatternError`` where a pattern file cannot be read.
  func options() throws -> [(name: String, options: AttentionOptions)] {
    let given = given.filter { method in !kinds.contains { $0.rawValue == method.name } }
    return kinds.map { ($0.rawValue, options($0)) }
      + (try given.map { ($0.name, try $0.options(exact: prefill.exact)) })
  }

  private func options(_ mode: AttentionMode) -> AttentionOptions {
    let budgets = prefill.budgets.budgets
    // A budget given for one kind is no mistake for another.
    let unused = Set(mode.unusedBudgets(budgets, hasPatternFile: false))
    return AttentionOptions(mode: mode, budgets: budgets.without(unused), exact: prefill.exact)
  }

  /// The methods of a run.
  ///
  /// - Parameter length: The run's longest prompt. Static indices are those of a calibration prompt
  ///   of that length.
  func methods(
    for model: LanguageModel, length: Int, measuringRecall: Bool = false
  ) throws -> [LanguageModelRunner.Method] {
    try options().map { name, options in
      var options = options
      if options.mode == .static {
        options.calibratedSelections = try calibratedSelections(options, model, length: length)
      }
      // Budgets and files that do not fit the model are found before hours of work.
      _ = try model.planner(for: options)
      return LanguageModelRunner.Method(
        name: name,
        options: SessionOptions(
          attention: options, chunk: prefill.chunk?.value,
          measuresRecall: measuringRecall && options.mode != .dense))
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
