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

  @Option(
    help: ArgumentHelp(
      "Verify only kernels whose names begin so: attention, \"linear fp8\".", valueName: "name"))
  var only: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    if perf {
      let backend = try device.device.makeBackend(threads: device.threads?.value)
      // Not every GPU has them, and the table says so by what it lacks.
      let narrow = try? device.device.makeBackend(linear: .fp8)
      return try StandardOutput.write(
        KernelSpeed.table(try KernelSpeed.measure(backend, narrow: narrow, rows: 131_072)))
    }
    var results: [(variant: String, checks: [KernelCheck])] = []
    for variant in try device.device.variants(threads: device.threads?.value) {
      for notice in variant.backend.notices { StandardError.note(notice) }
      if !json { StandardError.note("verifying \(variant.name)") }
      results.append((variant.name, KernelVerifier.verify(variant.backend, prefix: only)))
    }
    guard results.contains(where: { !$0.checks.isEmpty }) else {
      throw ValidationError(
        "--only: no kernel here has a name that begins with \"\(only ?? "")\"; give a part of one")
    }
    try StandardOutput.write(json ? Self.json(results).text + "\n" : Self.table(results))
    let misses = results.flatMap { $0.checks.filter { !$0.passed } }.count
    guard misses == 0 else {
      StandardError.note("\(misses) kernels miss their tolerance; do not trust this build here")
      throw ExitCode(1)
    }
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
