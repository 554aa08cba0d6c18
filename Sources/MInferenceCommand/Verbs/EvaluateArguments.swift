import ArgumentParser
import EvaluationTasks
import MInference

/// What every evaluation takes: a model, kinds of attention, and a place for results.
struct EvaluateArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory, a GGUF file, or ORG/NAME; the model that came with the package if "
        + "not given.", valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String?

  @OptionGroup var device: DeviceArguments
  @OptionGroup var methods: MethodArguments
  @OptionGroup var output: ResultArguments

  var results: String? { output.results }

  /// The model, with its notices told.
  func load() async throws -> LanguageModel {
    let directory = try model ?? ModelDirectory.builtIn()
    try await device.serveRank(directory: directory)
    let model = try await PreparationLine.load(
      device.loadOptions(directory: directory, patterns: methods.prefill.patterns))
    var told: Set<String> = []
    let notices =
      model.notices + (try methods.options()).flatMap { model.notices(for: $0.options) }
    for notice in notices where told.insert(notice).inserted { StandardError.note(notice) }
    return model
  }

  /// The kinds of attention as methods of a run, see ``MethodArguments``.
  func methods(
    for model: LanguageModel, length: Int, measuringRecall: Bool = false
  ) throws -> [LanguageModelRunner.Method] {
    try methods.methods(for: model, length: length, measuringRecall: measuringRecall)
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
    let chunk = methods.prefill.chunk.map { ["chunk \($0.value)"] } ?? []
    let budgets = ([methods.prefill.budgets.description] + narrow + chunk)
      .filter { !$0.isEmpty }.joined(separator: ", ")
    return try [
      (name: "suite", value: suite), (name: "model", value: model ?? ModelDirectory.builtIn()),
      (name: "patterns", value: methods.prefill.patterns ?? "the model's own"),
      (name: "budgets", value: budgets.isEmpty ? "defaults" : budgets),
      // Tiles and number formats of devices differ, and so do results.
      (name: "device", value: device.device.resolved.rawValue),
      (name: "exact", value: "\(methods.prefill.exact)"),
      (name: "calibration", value: methods.calibration ?? "chronicle"),
    ] + more
  }

  /// Throws where a length is beyond the model's context.
  static func check(
    _ lengths: [Size], for model: LanguageModel, flag: String = "--lengths"
  ) throws {
    for length in lengths where length.value > model.contextLength {
      throw CommandFailure(
        .usage, LengthArguments.refusal(of: length.value, within: model.contextLength, flag: flag))
    }
  }

  /// The answers to tasks by every method, with progress shown.
  func records(
    _ plans: [TaskPlan], on runner: LanguageModelRunner, run: [(name: String, value: String)]
  ) async throws -> [RunRecord] {
    let progress = EvaluationProgress()
    defer { progress.finish() }
    return try await EvaluationRun.run(
      plans, on: runner, results: results, run: run
    ) { progress.update($0) }
  }

  /// Puts tasks to the model and prints what came of it; returns the results.
  @discardableResult
  func evaluate(
    _ plans: [TaskPlan], on runner: LanguageModelRunner, run: [(name: String, value: String)]
  ) async throws -> [RunRecord] {
    let records = try await records(plans, on: runner, run: run)
    let summary = RunSummary(records, methods: runner.methods)
    try output.write(json: summary.json, markdown: summary.markdown, of: runner.model)
    return records
  }

  /// The plans whose kind has room at their length; the others are told, each on a line.
  ///
  /// Throws where none is left.
  func fitting(_ plans: [TaskPlan], on runner: LanguageModelRunner) throws -> [TaskPlan] {
    let fitting = try TaskPlan.fitting(plans) { try runner.countTokens($0) }
    if fitting.plans.isEmpty, let first = fitting.leftOut.first { throw first }
    for kind in fitting.leftOut { StandardError.note("left out: \(ErrorText.of(kind))") }
    return fitting.plans
  }
}
