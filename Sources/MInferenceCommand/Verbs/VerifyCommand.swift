import ArgumentParser
import MInference
import MInferenceEvaluation

/// `minference verify`: every kernel against the reference.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compares every kernel with the reference, over many shapes.",
    discussion: "Ends with code 1 if a kernel misses its tolerance.")

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Print how fast the kernels of a GPU are instead, beside a copy of the same bytes.")
  var perf = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    if perf {
      let backend = try device.makeBackend()
      return try StandardOutput.write(
        KernelSpeed.table(try KernelSpeed.measure(backend, rows: 131_072)))
    }
    var results: [(variant: String, checks: [KernelCheck])] = []
    for variant in try variants() {
      for notice in variant.backend.notices { StandardError.note(notice) }
      if !json { StandardError.note("verifying \(variant.name)") }
      results.append((variant.name, KernelVerifier.verify(variant.backend)))
    }
    try StandardOutput.write(json ? Self.json(results).text + "\n" : Self.table(results))
    let misses = results.flatMap { $0.checks.filter { !$0.passed } }.count
    guard misses == 0 else {
      StandardError.note("\(misses) kernels miss their tolerance; do not trust this build here")
      throw ExitCode(1)
    }
  }

  /// All that the device has, or the one that was asked for.
  private func variants() throws -> [(name: String, backend: any Backend)] {
    guard device.attentionPrecision != .native else {
      return try device.device.variants(threads: device.threads?.value)
    }
    let backend = try device.makeBackend()
    return [("\(backend.name), \(device.attentionPrecision.rawValue)", backend)]
  }

  private static func table(_ results: [(variant: String, checks: [KernelCheck])]) -> String {
    var table = TextTable(
      header: ["kernel", "variant", "cases", "worst error / tolerance", ""])
    for (variant, checks) in results {
      for check in checks {
        table.append([
          check.kernel, variant, "\(check.cases)", Quantity.fixed(check.worst, 3),
          check.passed ? "ok" : "MISS",
        ])
      }
    }
    let misses = results.flatMap { variant, checks in
      checks.filter { !$0.passed }.map { "\(variant), \($0.kernel): \($0.worstCase)\n" }
    }
    return table.text + misses.joined()
  }

  private static func json(_ results: [(variant: String, checks: [KernelCheck])]) -> JSONText {
    let entries = results.flatMap { variant, checks in
      checks.map { check in
        JSONText.object([
          ("kernel", .string(check.kernel)), ("variant", .string(variant)),
          ("cases", .integer(check.cases)), ("worst", .number(check.worst)),
          ("worst_case", .string(check.worstCase)), ("passed", .bool(check.passed)),
        ])
      }
    }
    return .object([
      ("passed", .bool(results.allSatisfy { $0.checks.allSatisfy(\.passed) })),
      ("kernels", .array(entries)),
    ])
  }
}
