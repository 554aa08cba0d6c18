import Benchmarks
import TextReports
import ArgumentParser
import JSON
import MInference

/// `minference bench attention`: the kernels alone, beside the matrix product of the same machine.
struct BenchAttentionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention",
    abstract: "The attention kernels, dense and sparse, beside the matrix product.",
    discussion: """
      Useful rates count 4 x head dim operations for each computed pair. Cases take turns, each runs \
      once to warm up, and the median of --repeat runs counts. Indices are made before the clock \
      starts. Cases: product (a matrix product), dense, tiles (drawn at random, at --densities), mixed \
      (runs of offsets and columns, at --densities), slashes (vertical-slash, --budgets in --settings), \
      index (estimation, selection and plan of --budgets), decode (one row). On a GPU tiles are drawn \
      for 128 positions at once, with a sink of 128 and a window of 512. \
      MINFERENCE_CUDA_KERNELS=portable keeps to the kernels that every GPU runs. The last columns are \
      what the published kernels' rules of 64 rows compute of the same selection, and how much longer \
      they take at the rate that was measured of them on an H100 (293 TFLOP/s from 128K tokens on, 271 \
      from 512K).

      Example: minference bench attention --lengths 32K --cases dense,tiles --densities 5,10
      """)

  @Option(
    name: [.customLong("lengths"), .customLong("tokens")], parsing: .unconditional,
    help: ArgumentHelp("Prompt lengths, separated by commas.", valueName: "n,n"),
    transform: { try List.parsed($0) { try Size.parsed($0, atLeast: 64) } })
  var lengths: [Size] = [Size(value: 16384)]

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Size of a head.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var headDim: Size = Size(value: 64)

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Query heads.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var heads: Size = Size(value: 6)

  @Option(
    name: .customLong("kv-heads"), parsing: .unconditional,
    help: ArgumentHelp("Key-value heads.", valueName: "n"), transform: { try Size.parsed($0) })
  var keyValueHeads: Size = Size(value: 2)

  @Option(
    help: ArgumentHelp(
      "What to measure, separated by commas: "
        + "\(AttentionBenchmark.Part.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "case,case"),
    completion: .list(AttentionBenchmark.Part.allCases.map(\.rawValue)),
    transform: { try List.parsed($0) { try List.named($0) } })
  var cases: [AttentionBenchmark.Part] = [.product, .dense, .tiles, .mixed, .index, .decode]

  @Option(
    help: ArgumentHelp("Densities in percent, separated by commas.", valueName: "p,p"),
    transform: { text in
      try List.parsed(text) {
        try Number.parsed($0, in: 0.01...100, allowed: "percents from 0.01 to 100") / 100
      }
    })
  var densities: [Double] = [0.05, 0.1, 0.2]

  @Option(
    help: ArgumentHelp(
      "Who shares a draw of tiles: group (the heads of a key-value head), head (nobody), or both.",
      valueName: "who,who"),
    transform: { try List.parsed($0) { try List.named($0) } })
  var index: [AttentionBenchmark.Sharing] = [.head]

  @Option(
    help: ArgumentHelp(
      "Columns and offsets of vertical-slash, pairs separated by semicolons.",
      valueName: "v,s;v,s"),
    transform: { text in
      try List.parsed(text, separator: ";") { pair in
        let numbers = try List.parsed(pair) { try Size.parsed($0).value }
        guard numbers.count == 2 else {
          throw ValidationError("\"\(pair)\" is no budget; give columns and offsets: 1000,6096")
        }
        return SyntheticSelection.Budget(columns: numbers[0], offsets: numbers[1])
      }
    })
  var budgets = [SyntheticSelection.Budget(columns: 1000, offsets: 6096)]

  @Option(
    help: ArgumentHelp("How offsets lie: clustered, scattered, or both.", valueName: "how,how"),
    transform: { try List.parsed($0) { try List.named($0) } })
  var settings: [SyntheticAttention.Setting] = [.clustered]

  @Flag(help: "Slashes stay sparse even where dense attention would be faster.")
  var exact = false

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Runs of each case.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var `repeat`: Size = Size(value: 3)

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    guard device.linear == .bf16 else {
      throw ValidationError("--linear is for layers; leave it out, or measure with bench prefill")
    }
    guard heads.value % keyValueHeads.value == 0 else {
      throw ValidationError(
        "--kv-heads: \(keyValueHeads.value) does not divide the \(heads.value) of --heads")
    }
  }

  func run() throws {
    let backend = try device.makeBackend()
    for notice in backend.notices { StandardError.note(notice) }
    var parts: [JSONValue] = []
    for length in lengths.map(\.value) {
      let measurements = try benchmark(tokens: length).run(on: backend) { Self.show($0) }
      Self.show("")
      if json {
        parts.append(AttentionBenchmark.json(measurements, tokens: length))
      } else {
        try StandardOutput.write(
          "\(Quantity.grouped(length)) tokens, \(heads.value) / \(keyValueHeads.value) heads of "
            + "\(headDim.value)\n" + AttentionBenchmark.table(measurements) + "\n")
      }
    }
    if json {
      try StandardOutput.write(
        JSONValue.object([("lengths", .array(parts))]).describingBuild(on: [backend]).serialized()
          + "\n")
    }
  }

  private func benchmark(tokens: Int) -> AttentionBenchmark {
    var benchmark = AttentionBenchmark(
      tokens: tokens,
      shape: AttentionShape(
        queryHeads: heads.value, keyValueHeads: keyValueHeads.value, headDim: headDim.value))
    benchmark.parts = cases
    benchmark.densities = densities
    benchmark.sharings = index
    benchmark.budgets = budgets
    benchmark.settings = settings
    benchmark.exact = exact
    benchmark.repetitions = self.repeat.value
    return benchmark
  }

  /// What is being done, on one line of a terminal.
  private static func show(_ progress: String) {
    guard StandardError.isTerminal else { return }
    StandardError.write("\r\(progress.prefix(StandardError.columns - 1))\u{1B}[K")
  }
}
