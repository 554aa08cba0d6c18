import EvaluationTasks
import ArgumentParser
import MInference

/// `minference evaluate overlap`: what the indices of two prompts have in common.
struct EvaluateOverlapCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overlap",
    abstract: "How much the selected columns and offsets of two prompts overlap, head by head.",
    discussion: """
      Both texts are cut to --length. Without files they are two chronicles.

      Example: minference evaluate overlap --attention vertical-slash --length 8K one.txt two.txt
      """)

  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory, a GGUF file, or ORG/NAME; the model that came with the package if "
        + "not given.", valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String?

  @OptionGroup var device: DeviceArguments
  @OptionGroup var attention: AttentionArguments

  @Argument(help: ArgumentHelp("Two UTF-8 files.", valueName: "file"), completion: .file())
  var files: [String] = []

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Tokens of each prompt.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 64) })
  var length: Size = Size(value: 8192)

  func validate() throws {
    guard files.isEmpty || files.count == 2 else {
      throw ValidationError("\(files.count) files are given; give two, or none for chronicles")
    }
  }

  mutating func run() async throws {
    try device.requireOneProcess()
    let texts = try files.map { try InputText.read(path: $0) }
    let directory = try self.model ?? ModelDirectory.builtIn()
    let model = try await attention.load(directory: directory, device: device)
    attention.notices(for: model).forEach(StandardError.note)
    guard let planner = try model.planner(for: attention.options) else {
      throw CommandFailure(
        .usage, "--attention: dense selects nothing; name a sparse kind such as vertical-slash")
    }
    try EvaluateArguments.check([length], for: model, flag: "--length")
    let prompts = try [0, 1].map { number in
      try EvaluationText.tokens(
        length.value, of: texts.isEmpty ? nil : texts[number], seed: UInt64(number + 1), for: model)
    }
    let progress = ProgressLine(label: "overlap")
    let overlaps = try IndexSurvey.overlaps(model, prompts[0], prompts[1], planner: planner) {
      progress.update(fraction: $0, totalTokens: prompts[0].count * 2)
    }
    progress.finish()
    try StandardOutput.write(IndexSurvey.markdown(overlaps))
  }
}
