import EvaluationTasks
import Plots
import ArgumentParser
import MInference

/// `minference evaluate needle`: one fact at every depth of every length.
struct EvaluateNeedleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "needle",
    abstract: "Hides a number at depths of a long text, and asks for it.",
    discussion: """
      The form is the paper's; the text is the demo's chronicle, or --text.

      Example: minference evaluate needle --model DIR --lengths 8K,32K --depths 10 --rounds 3
      """)

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @OptionGroup var length: LengthArguments

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Depths, evenly from the beginning to the end.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var depths: Size = Size(value: 10)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Prompts of each length and depth; the paper has 5.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var rounds: Size = Size(value: 1)

  @OptionGroup var source: TaskSourceArguments

  @Option(
    help: ArgumentHelp("Write the depth by length map to this SVG file.", valueName: "file"),
    completion: .file())
  var plot: String?

  mutating func run() async throws {
    let haystack = try source.haystack()
    let model = try await shared.load()
    let lengths = try length.usable(by: model)
    let suite = NeedleTask(
      lengths: lengths.values, depths: NeedleTask.evenDepths(depths.value),
      rounds: rounds.value, seed: source.seed, haystack: haystack)
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: lengths.longest, measuringRecall: form.monitor),
      form: form.form(of: model))
    let records = try await shared.evaluate(
      suite.plans, on: runner,
      run: shared.run("needle", source.run + [(name: "form", value: form.description)]))
    if let plot {
      try TextFile.replace(plot, with: NeedleHeatMap.svg(records, methods: runner.methods))
    }
    try lengths.finish()
  }
}
