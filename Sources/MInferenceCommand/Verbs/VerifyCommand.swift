import ArgumentParser
import MInference
import MInferenceEvaluation

/// `minference verify`: every kernel, or a whole model, against the reference.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compares every kernel, or a whole model, with the reference.",
    discussion: """
      Without --model every kernel over many shapes; with it a checkpoint's logits at every \
      position: the prompt as a whole and in chunks, token by token from keys and values of every \
      format, saved and restored, sparse, and the continuation. Ends with code 1 if a kernel or a \
      way to logits misses its tolerance.
      """)

  @Option(help: ArgumentHelp("Verify this checkpoint instead of the kernels.", valueName: "dir"))
  var model: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("With --model: tokens of the prompt; 512 if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var tokens: Size?

  @Option(
    help: ArgumentHelp(
      "With --model: a UTF-8 file with the prompt; a made-up document if not given.",
      valueName: "file"))
  var promptFile: String?

  @Option(
    help: ArgumentHelp(
      "With --model: pattern file; patterns.json of its directory if not given.",
      valueName: "file"))
  var patterns: String?

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Print how fast the kernels of a GPU are instead, beside a copy of the same bytes.")
  var perf = false

  @Option(
    help: ArgumentHelp(
      "Verify only kernels whose names begin so: attention, \"linear fp8\".", valueName: "name"))
  var only: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if only != nil && (model != nil || perf) {
      throw ValidationError("--only picks kernels to verify; leave out --model and --perf")
    }
    if model != nil && device.attentionPrecision != .native {
      throw ValidationError(
        "--attention-precision has no tolerance for whole models; leave it out, or leave out --model"
      )
    }
    guard model == nil else {
      if perf { throw ValidationError("--perf measures kernels; leave out --model or --perf") }
      return
    }
    if tokens != nil || promptFile != nil || patterns != nil {
      throw ValidationError("--tokens, --prompt-file and --patterns need --model DIR")
    }
  }

  func run() throws {
    if let model { return try verify(model: model) }
    if perf {
      let backend = try device.makeBackend()
      // Not every GPU has them, and the table says so by what it lacks.
      let narrow = try? device.device.makeBackend(linear: .fp8)
      return try StandardOutput.write(
        KernelSpeed.table(try KernelSpeed.measure(backend, narrow: narrow, rows: 131_072)))
    }
    var results: [(variant: String, checks: [KernelCheck])] = []
    for variant in try variants() {
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
