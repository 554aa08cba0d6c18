import ArgumentParser
import Benchmarks
import JSON
import MInference

/// `minference bench pipeline`: the time that more devices would take, predicted.
struct BenchPipelineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pipeline",
    abstract: "Predicts the prefill time of a pipeline over layers, for up to 128 devices.",
    discussion: """
      Nothing is run: times come from what a layer was measured to cost on one device, and from the rules \
      by which chunks pass through stages.

      Example: minference bench pipeline --shape llama-3-8b --stages 2,4,8 --lengths 128K,1M
      """)

  @Option(
    help: ArgumentHelp("Numbers of stages, separated by commas.", valueName: "n,n"),
    transform: { try List.parsed($0) { try Size.parsed($0) } })
  var stages: [Size] = [1, 2, 4, 8].map { Size(value: $0) }

  @Option(
    help: ArgumentHelp(
      "The model's shape: \(ModelShape.names.joined(separator: ", ")), or a config.json.",
      valueName: "shape"),
    completion: .list(ModelShape.names))
  var shape = "llama-3-8b"

  @Option(
    help: ArgumentHelp("Prompt lengths, separated by commas.", valueName: "n,n"),
    transform: { try List.parsed($0) { try Size.parsed($0) } })
  var lengths: [Size] = [Size(value: 1 << 17), Size(value: 1 << 20)]

  @Option(
    help: ArgumentHelp(
      "What each stage runs on: "
        + PipelineCosts.Device.all.map(\.name).joined(separator: ", ") + ".", valueName: "device"),
    completion: .list(PipelineCosts.Device.all.map(\.name)),
    transform: { name in
      guard let device = PipelineCosts.Device.all.first(where: { $0.name == name }) else {
        throw ValidationError(
          "\"\(name)\" is not known; give one of "
            + PipelineCosts.Device.all.map(\.name).joined(separator: ", "))
      }
      return device
    })
  var on = PipelineCosts.Device.h200

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens a chunk; as the pipeline cuts them if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var chunk: Size?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keys that rows of the last chunk compute with sparse attention, tiles counted whole; 0 for "
        + "dense attention.", valueName: "n"),
    transform: { try Size.parsed($0, atLeast: 0) })
  var keys: Size = Size(value: 10_500)

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if let most = stages.map(\.value).max(), most > 128 {
      throw ValidationError("--stages: \(most) is too many; give 128 or fewer")
    }
  }

  func run() throws {
    let benchmark = try PipelineBenchmark(
      shape: shape, device: on, sparseKeys: keys.value == 0 ? nil : Double(keys.value))
    var rows: [PipelineBenchmark.Row] = []
    for length in lengths.map(\.value) {
      for count in stages.map(\.value) {
        guard count <= benchmark.mostStages else {
          StandardError.note(
            "\(count) stages are more than the \(benchmark.mostStages) layers of the shape")
          continue
        }
        rows.append(
          try benchmark.predict(stages: count, tokens: length, chunk: chunk?.value))
      }
    }
    try StandardOutput.write(
      json
        ? PipelineBenchmark.json(rows).describingBuild(on: []).serialized() + "\n"
        : PipelineBenchmark.table(rows))
  }
}
