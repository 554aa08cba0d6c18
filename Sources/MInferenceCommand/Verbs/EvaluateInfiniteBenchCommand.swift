import EvaluationTasks
import ArgumentParser
import MInference

/// `minference evaluate infinitebench`: InfiniteBench's files.
struct EvaluateInfiniteBenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infinitebench",
    abstract: "InfiniteBench's JSON lines: ten tasks with their published scores.",
    discussion: """
      A file's name says its task: \
      \(InfiniteBenchKind.allCases.map(\.rawValue).joined(separator: ", ")). Prompts longer than \
      --max-length lose their middle.

      Example: minference evaluate infinitebench --model DIR --prompts 25 passkey.jsonl \
      kv_retrieval.jsonl
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Argument(
    help: ArgumentHelp("Files such as passkey.jsonl.", valueName: "file"), completion: .file())
  var files: [String]

  @Option(
    name: [.customLong("prompts"), .customLong("samples")], parsing: .unconditional,
    help: ArgumentHelp("Prompts of each file.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var prompts: Size?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of a prompt; the model's context if not given.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 256) })
  var maxLength: Size?

  mutating func run() async throws {
    let plans = try files.flatMap { try InfiniteBenchFile.tasks($0, limit: prompts?.value) }
      .map(TaskPlan.init)
    let model = try await shared.load()
    let length = min(maxLength?.value ?? model.contextLength, model.contextLength)
    if let maxLength, maxLength.value > length {
      StandardError.note(
        LengthArguments.refusal(of: maxLength.value, within: length, flag: "--max-length")
          + " (prompts have \(length))")
    }
    let runner = LanguageModelRunner(
      model, methods: try shared.methods(for: model, length: length, measuringRecall: form.monitor),
      form: form.form(of: model, maximumTokens: length))
    try await shared.evaluate(
      plans, on: runner,
      run: shared.run(
        "infinitebench",
        [
          (name: "files", value: files.joined(separator: " ")),
          (name: "max-length", value: "\(length)"), (name: "form", value: form.description),
        ]))
  }
}
