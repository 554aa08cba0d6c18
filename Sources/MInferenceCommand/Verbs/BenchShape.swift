import ArgumentParser
import Benchmarks
import JSON
import MInference
import TextReports

/// `minference bench prefill --shape`: a model shape whose weights nobody has here.
extension BenchPrefillCommand {
  func runShape(_ shape: String) throws {
    guard let file = attention.prefill.patterns else {
      throw ValidationError("--shape needs the heads' patterns: give --patterns FILE")
    }
    let (benchmark, backends) = try makeBenchmark(
      shape, patterns: try PatternConfiguration(contentsOfFile: file))
    if let deviceMemory { benchmark.limitMemory(to: deviceMemory.value) }
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
            mode, tokens: length, isDense: mode == "dense", exact: attention.prefill.exact,
            chunk: attention.prefill.chunk?.value, keyValues: attention.sessionOptions().keyValues,
            budgets: attention.chunkBudgets,
            runs: self.repeat.value
          ) { progress.update(fraction: $0.fraction, totalTokens: $0.tokens) })
        progress.finish()
      }
    }
    try trace.write(benchmark.pipeline)
    try StandardOutput.write(
      json
        ? ShapeBenchmark.json(rows, setting: setting)
          .describingStages(of: benchmark.pipeline).describingBuild(on: backends)
          .serialized() + "\n"
        : ShapeBenchmark.table(rows, setting: setting))
  }

  /// On one device, on several, or on those of several processes; with this process's backends.
  private func makeBenchmark(
    _ shape: String, patterns: PatternConfiguration
  ) throws -> (ShapeBenchmark, [any Backend]) {
    guard device.devices?.isRanks == true else {
      let members = try device.makeMembers()
      Set(members.flatMap(\.backend.notices)).sorted().forEach(StandardError.note)
      let benchmark = try ShapeBenchmark(
        shape: shape, patterns: patterns, setting: setting, members: members,
        stageLayers: device.stageLayers)
      return (benchmark, members.map(\.backend))
    }
    let rank = try RankService.rank()
    let member = try device.loadOptions(directory: shape).makeMember(of: rank)
    guard rank.rank == 0 else {
      try ShapeBenchmark.serve(
        shape: shape, as: rank, member: member,
        onEnd: { FailureReport.exit(with: RankServed()) }, onLoss: { FailureReport.exit(with: $0) })
      throw RankServed()
    }
    let benchmark = try ShapeBenchmark(
      shape: shape, patterns: patterns, setting: setting,
      group: ProcessGroup(rank) { FailureReport.exit(with: $0) }, member: member,
      stageLayers: device.stageLayers)
    return (benchmark, [member.backend])
  }
}
