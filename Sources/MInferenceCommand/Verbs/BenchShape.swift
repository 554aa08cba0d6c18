import Benchmarks
import TextReports
import ArgumentParser
import JSON
import MInference

/// `minference bench prefill --shape`: a model shape whose weights nobody has here.
extension BenchPrefillCommand {
  func runShape(_ shape: String) throws {
    guard let file = attention.patterns else {
      throw ValidationError("--shape needs the heads' patterns: give --patterns FILE")
    }
    let members = try device.makeMembers()
    let benchmark = try ShapeBenchmark(
      shape: shape, patterns: try PatternConfiguration(contentsOfFile: file), setting: setting,
      members: members)
    Set(members.flatMap(\.backend.notices)).sorted().forEach(StandardError.note)
    benchmark.pipeline?.stageDescriptions.forEach(StandardError.note)
    try trace.begin(benchmark.pipeline)
    var rows: [ShapeBenchmark.Row] = []
    let modes = onlySparse ? ["minference"] : ["dense", "minference"]
    let lengths = length.lengths.map(\.value)
    for length in lengths.isEmpty ? Self.standardLengths : lengths {
      for mode in modes {
        let progress = ProgressLine(label: "\(mode) \(Quantity.grouped(length))")
        rows.append(
          try benchmark.measure(
            mode, tokens: length, isDense: mode == "dense", exact: attention.exact,
            chunk: attention.chunk?.value, keyValues: attention.sessionOptions().keyValues,
            runs: self.repeat.value
          ) { progress.update(fraction: $0.fraction, totalTokens: $0.tokens) })
        progress.finish()
      }
    }
    try trace.write(benchmark.pipeline)
    try StandardOutput.write(
      json
        ? ShapeBenchmark.json(rows, setting: setting).describingBuild(on: members.map(\.backend))
          .serialized() + "\n"
        : ShapeBenchmark.table(rows, setting: setting))
  }
}
