import ArgumentParser
import MInference
import MInferenceEvaluation

/// `minference inspect`: what a checkpoint is, and pictures of its attention.
struct InspectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Describes a checkpoint; with a prompt, draws what a head attends to.",
    discussion: """
      Without a prompt: family, context, heads, memory, and which pattern file would be used; no \
      weight is read. With one, a picture of attention and of what the head's pattern computes of it.
      A cell shows the largest attention probability of its pairs, on a log scale; cells whose \
      brightest pair is not computed are veiled. --all draws every head on one sheet.
      """)

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var attention: AttentionArguments

  @Option(help: ArgumentHelp("The layer, from 0.", valueName: "n"))
  var layer: Int?

  @Option(help: ArgumentHelp("The query head, from 0.", valueName: "n"))
  var head: Int?

  @Flag(help: "Draw every layer and head on one sheet.")
  var all = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Cells on a side; 192, or 48 with --all.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 8) })
  var cells: Size?

  @Option(help: ArgumentHelp("The SVG file to write.", valueName: "file"))
  var output: String?

  func validate() throws {
    guard prompt.isGiven || output != nil || layer != nil || head != nil || all else { return }
    try prompt.requirePrompt()
    guard output != nil else {
      throw ValidationError("there is no file for the picture; give --output FILE")
    }
    guard all != (layer != nil && head != nil), all == (layer == nil && head == nil) else {
      throw ValidationError("give --layer and --head, or --all")
    }
    if let cells, cells.value > 1024 {
      throw ValidationError("--cells: \(cells.value) is too many; give 1024 or fewer")
    }
  }

  mutating func run() async throws {
    guard let output else {
      let description = try ModelDescriptionText(
        directory: model.model, patterns: attention.patterns)
      return try StandardOutput.write(description.text)
    }
    let text = try prompt.text()
    let model = try await attention.load(self.model, chatTemplate: prompt.chatTemplate)
    attention.notices(for: model).forEach(StandardError.note)
    try check(model)
    let ids = try prompt.encode(text, for: model)
    let progress = ProgressLine(label: "inspect")
    defer { progress.finish() }
    let inspection = HeadInspection(
      model, tokens: ids, planner: try model.planner(for: attention.options),
      cells: cells?.value ?? (all ? 48 : 192))
    let (layer, head, all) = (layer, head, all)
    let pictures = try inspection.pictures(
      upToLayer: layer, isWanted: { all || $0 == layer && $1 == head }
    ) { done, total in
      progress.update(fraction: Double(done) / Double(total), totalTokens: ids.count)
    }
    progress.finish()
    guard let picture = pictures.last?.first else {
      throw CommandFailure(.software, "inspect: no picture was made of layer \(layer ?? 0)")
    }
    let title =
      "\(model.directory): attention of \(Quantity.grouped(ids.count)) tokens, "
      + attention.attention.rawValue
    try TextFile.replace(
      output, with: all ? ContactSheet.svg(pictures, title: title) : picture.svg)
  }

  private func check(_ model: LanguageModel) throws {
    let layers = model.transformer.layerCount
    if let layer, !(0..<layers).contains(layer) {
      throw CommandFailure(
        .usage,
        "--layer: \(layer) is not among the model's \(layers) layers; give 0 to \(layers - 1)"
      )
    }
    guard let layer, let head else { return }
    let heads = model.transformer.attentionShape(layer: layer).queryHeads
    if !(0..<heads).contains(head) {
      throw CommandFailure(
        .usage, "--head: \(head) is not among the layer's \(heads) heads; give 0 to \(heads - 1)")
    }
  }
}
