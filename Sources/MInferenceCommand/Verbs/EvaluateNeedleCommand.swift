import EvaluationTasks
import Plots
import ArgumentParser
import MInference

/// `minference evaluate needle`: one fact at every depth of every length.
struct EvaluateNeedleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "needle",
    abstract: "Hides a number at depths of a long text, and asks for it.",
    discussion: "The form is the paper's; the text is the demo's chronicle, or --haystack.")

  @OptionGroup var shared: EvaluateArguments
  @OptionGroup var form: TaskFormArguments

  @Option(
    help: ArgumentHelp("Prompt lengths, separated by commas.", valueName: "n,n"),
    transform: { try Lengths.parsed($0) })
  var lengths: [Size] = [4096, 8192, 16384, 32768].map { Size(value: $0) }

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

  @Option(help: ArgumentHelp("Seed of facts and text.", valueName: "s"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("A UTF-8 file to hide the fact in.", valueName: "file"))
  var haystack: String?

  @Option(help: ArgumentHelp("Write the depth by length map to this SVG file.", valueName: "file"))
  var plot: String?

  mutating func run() async throws {
    let text = try haystack.map { try InputText.read(path: $0) }
    let model = try await shared.load()
    try EvaluateArguments.check(lengths, for: model)
    let suite = NeedleTask(
      lengths: lengths.map(\.value), depths: NeedleTask.evenDepths(depths.value),
      rounds: rounds.value, seed: seed, haystack: text.map { .text($0) })
    let runner = LanguageModelRunner(
      model,
      methods: try shared.methods(
        for: model, length: lengths.map(\.value).max() ?? 0, measuringRecall: form.monitor),
      form: form.form(of: model))
    let records = try await shared.evaluate(
      suite.plans, on: runner,
      run: shared.run(
        "needle",
        [
          (name: "seed", value: "\(seed)"), (name: "haystack", value: haystack ?? "chronicle"),
          (name: "form", value: form.description),
        ]))
    if let plot {
      try TextFile.replace(plot, with: NeedleHeatMap.svg(records, methods: runner.methods))
    }
  }
}
