import Benchmarks
import EvaluationTasks
import TextReports
import ArgumentParser
import CSystemCalls
import JSON
import MInference

/// `minference bench prefill`: time to first token, dense and sparse, with recall.
struct BenchPrefillCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prefill",
    abstract: "Time to first token, dense and sparse, over prompt lengths, with recall.",
    discussion: """
      The text is the demo's chronicle, or --prompt-file. Dense and sparse runs take turns. The best \
      of --repeat runs is shown; the ratio is the median over pairs of runs. Recall is measured in a \
      run that is not timed, or, with one run, in that one, where its time is in no figure. A length \
      that is refused, for the model's context or for memory, is told and left out; the exit code is \
      then 64.

      Example: minference bench prefill --model DIR --lengths 8K,32K --repeat 3
      """)

  @Option(
    help: ArgumentHelp(
      "The checkpoint's directory, a GGUF file, or ORG/NAME; the model that came with the package if "
        + "not given.", valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String?

  @OptionGroup var length: LengthArguments

  /// What is measured where no length is given.
  static let standardLengths = [4096, 32768]

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Pairs of runs.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var `repeat`: Size = Size(value: 1)

  @Option(
    help: ArgumentHelp("A UTF-8 file to read instead of the chronicle.", valueName: "file"),
    completion: .file())
  var promptFile: String?

  @Option(
    help: ArgumentHelp(
      "Write times against lengths, both logarithmic, to this SVG file.", valueName: "file"),
    completion: .file())
  var plot: String?

  @Option(
    help: ArgumentHelp(
      "Measure a model shape with made-up weights and synthetic attention instead: "
        + "\(ModelShape.names.joined(separator: ", ")), or a config.json. Needs --patterns.",
      valueName: "shape"),
    completion: .list(ModelShape.names))
  var shape: String?

  @Option(help: "How the offsets of synthetic attention lie: clustered or scattered.")
  var setting = SyntheticAttention.Setting.clustered

  @Flag(help: "With --shape: leave out dense attention.")
  var onlySparse = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "With --shape: plan memory as if the GPU had so many bytes: 80G.", valueName: "bytes"),
    transform: { try Size.parsed($0) })
  var deviceMemory: Size?

  @OptionGroup var device: DeviceArguments
  @OptionGroup var trace: TraceArguments
  @OptionGroup var attention: AttentionArguments

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if deviceMemory != nil, shape == nil {
      throw ValidationError("--device-memory is for shapes; give --shape, or leave it out")
    }
  }

  mutating func run() async throws {
    if let shape {
      let command = self
      return try await WorkerThread.run { try command.runShape(shape) }
    }
    let directory = try self.model ?? ModelDirectory.builtIn()
    try await device.serveRank(directory: directory)
    let model = try await attention.load(directory: directory, device: device)
    attention.notices(for: model).forEach(StandardError.note)
    try trace.begin(model)
    let text = try promptFile.map { try InputText.read(path: $0) }
    var dense = attention
    dense.attention = .dense
    let mode = attention.attention.rawValue
    var usable = try length.usable(by: model, standard: Self.standardLengths)
    var rows: [PrefillMeasurement] = []
    for length in usable.values {
      do {
        let prompt = try PrefillMeasurement.prompt(of: length, from: text, for: model)
        defer { TerminalLine.clear() }
        rows += try await PrefillMeasurement.measure(
          [
            .init(mode: "dense", options: dense.sessionOptions(), measuresRecall: false),
            .init(
              mode: mode, options: attention.sessionOptions(),
              measuresRecall: attention.attention != .dense),
          ], prompt: prompt, model: model, runs: self.repeat.value
        ) { way in
          let line = ProgressLine(label: "\(way.mode) \(Quantity.grouped(length))")
          return { line.update(fraction: $0.fraction, totalTokens: $0.tokens) }
        }
      } catch let error where usable.values.count > 1 && !(error is CancellationError) {
        usable.refuse(length, because: error)
      }
    }
    try trace.write(model)
    try StandardOutput.write(
      json
        ? PrefillMeasurement.json(
          rows, peakMemory: Int(csystem_peak_memory_bytes()),
          hostOperations: model.hostOperations
        ).describingStages(of: model.transformer.distribution as? LayerPipeline)
          .describingBuild(of: model).serialized() + "\n"
        : PrefillMeasurement.table(rows))
    if let plot { try TextFile.replace(plot, with: PrefillMeasurement.plot(rows)) }
    try usable.finish()
  }
}

extension SyntheticAttention.Setting: ExpressibleByArgument {}
