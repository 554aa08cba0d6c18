import EvaluationTasks
import Plots
import TextReports
import ArgumentParser
import MInference

/// `minference inspect`: what a checkpoint is, and pictures of its attention.
struct InspectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Describes a checkpoint; with a prompt, draws what a head attends to.",
    discussion: """
      Without a prompt: family, context, heads, memory, and which pattern file would be used; no \
      weight is read. With one, a picture of attention and of what the head's pattern computes of it.
      A cell shows the largest attention probability of its pairs, on a log scale; cells whose \
      brightest pair is not computed are veiled. --heads draws a few heads side by side, --all every \
      head on one sheet.

      Examples: minference inspect --model DIR
      minference inspect --model DIR --prompt-file book.txt --layer 3 --head 0 --output head.svg
      """)

  @OptionGroup var model: ModelArguments
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var attention: AttentionArguments

  @Option(help: ArgumentHelp("The layer, from 0.", valueName: "n"))
  var layer: Int?

  @Option(help: ArgumentHelp("The query head, from 0.", valueName: "n"))
  var head: Int?

  @Option(
    help: ArgumentHelp(
      "Heads to draw side by side: 1.2,4.0 is head 2 of layer 1 and head 0 of layer 4.",
      valueName: "l.h,l.h"),
    transform: { text in
      try text.split(separator: ",", omittingEmptySubsequences: false).map { place in
        let numbers = place.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 2, let layer = numbers[0], let head = numbers[1] else {
          throw ValidationError("\"\(place)\" is no head; give layer and head, such as 1.2")
        }
        return HeadPlace(layer: layer, head: head)
      }
    })
  var heads: [HeadPlace] = []

  struct HeadPlace: Hashable {
    let layer: Int
    let head: Int
  }

  @Flag(help: "Draw every layer and head on one sheet.")
  var all = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Cells on a side; 192, or 48 with --all.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 8) })
  var cells: Size?

  @Option(help: ArgumentHelp("The SVG file to write.", valueName: "file"), completion: .file())
  var output: String?

  func validate() throws {
    let ways = [layer != nil || head != nil, !heads.isEmpty, all].count { $0 }
    guard prompt.isGiven || output != nil || ways > 0 else { return }
    try prompt.requirePrompt()
    guard output != nil else {
      throw ValidationError("there is no file for the picture; give --output FILE")
    }
    guard ways == 1, (layer == nil) == (head == nil) else {
      throw ValidationError("give --layer and --head, or --heads, or --all")
    }
    if let cells, cells.value > 1024 {
      throw ValidationError("--cells: \(cells.value) is too many; give 1024 or fewer")
    }
  }

  mutating func run() async throws {
    guard let output else {
      let description = try ModelDescriptionText(
        directory: model.model, patterns: attention.prefill.patterns)
      try StandardOutput.write(description.text)
      return description.notices.forEach(StandardError.note)
    }
    try self.model.device.requireOneProcess()
    let text = try prompt.text()
    let model = try await attention.load(self.model, chatTemplate: prompt.chatTemplate)
    attention.notices(for: model).forEach(StandardError.note)
    try check(model)
    let ids = try prompt.encode(text, for: model, chat: prompt.chatOptions())
    let progress = ProgressLine(label: "inspect")
    defer { progress.finish() }
    let inspection = HeadInspection(
      model, tokens: ids, planner: try model.planner(for: attention.options),
      cells: cells?.value ?? (all ? 48 : 192))
    let wanted = wanted
    let pictures = try inspection.pictures(
      upToLayer: all ? nil : wanted.map(\.layer).max(),
      isWanted: { [all] in all || wanted.contains(HeadPlace(layer: $0, head: $1)) }
    ) { done, total in
      progress.update(fraction: Double(done) / Double(total), totalTokens: ids.count)
    }
    progress.finish()
    guard let picture = pictures.joined().first else {
      throw CommandFailure(.software, "inspect: no picture was made of \(wanted)")
    }
    let name = model.directory.split(separator: "/").last.map(String.init) ?? model.directory
    let title =
      "\(name): attention of \(Quantity.grouped(ids.count)) tokens, "
      + attention.attention.rawValue
    // In the order in which they were named.
    let named = heads.compactMap { place in
      pictures.joined().first { $0.layer == place.layer && $0.head == place.head }
    }
    try TextFile.replace(
      output,
      with: all
        ? ContactSheet.svg(pictures, title: title)
        : heads.isEmpty ? picture.svg : HeadStrip.svg(named, title: title))
  }

  /// The heads that are drawn, unless all are.
  private var wanted: [HeadPlace] {
    if let layer, let head { return [HeadPlace(layer: layer, head: head)] }
    return heads
  }

  private func check(_ model: LanguageModel) throws {
    let layers = model.transformer.layerCount
    let flag = heads.isEmpty ? ("--layer", "--head") : ("--heads", "--heads")
    for place in wanted {
      guard (0..<layers).contains(place.layer) else {
        throw CommandFailure(
          .usage,
          "\(flag.0): \(place.layer) is not among the model's \(layers) layers; give 0 to "
            + "\(layers - 1)")
      }
      let heads = model.transformer.attentionShape(layer: place.layer).queryHeads
      guard (0..<heads).contains(place.head) else {
        throw CommandFailure(
          .usage,
          "\(flag.1): \(place.head) is not among the layer's \(heads) heads; give 0 to "
            + "\(heads - 1)")
      }
    }
  }
}
