import ArgumentParser
import EvaluationTasks
import MInference

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

/// Prompts that are made here.
struct TaskSampleArguments: ParsableArguments {
  @OptionGroup var length: LengthArguments

  @Option(
    name: [.customLong("prompts"), .customLong("samples")], parsing: .unconditional,
    help: ArgumentHelp("Prompts of each kind and length.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var prompts: Size = Size(value: 25)

  @OptionGroup var source: TaskSourceArguments
}

/// What generated prompts are drawn from.
struct TaskSourceArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Seed of the tasks.", valueName: "s"))
  var seed: UInt64 = 1

  @Option(
    name: [.customLong("text"), .customLong("haystack")],
    help: ArgumentHelp(
      "A UTF-8 file that facts are hidden in; a chronicle of its own if not given.",
      valueName: "file"), completion: .file())
  var text: String?

  func haystack() throws -> Haystack? {
    try text.map { .text(try InputText.read(path: $0)) }
  }

  /// What tells results with these settings from others.
  var run: [(name: String, value: String)] {
    [(name: "seed", value: "\(seed)"), (name: "haystack", value: text ?? "chronicle")]
  }
}
