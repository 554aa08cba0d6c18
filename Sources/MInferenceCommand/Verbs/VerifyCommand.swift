import Benchmarks
import KernelVerification
import TextReports
import ArgumentParser
import JSON
import MInference

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

      Example: minference verify --device cpu
      """)

  @Option(
    help: ArgumentHelp(
      "Verify this checkpoint instead of the kernels: a directory, a GGUF file, or ORG/NAME.",
      valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: String?

  @Option(
    name: [.customLong("length"), .customLong("tokens")], parsing: .unconditional,
    help: ArgumentHelp("With --model: tokens of the prompt; 512 if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var tokens: Size?

  @Option(
    help: ArgumentHelp(
      "With --model: a UTF-8 file with the prompt; a made-up document if not given.",
      valueName: "file"), completion: .file())
  var promptFile: String?

  @Option(
    help: ArgumentHelp(
      "With --model: pattern file; patterns.json of its directory if not given.",
      valueName: "file"), completion: .file())
  var patterns: String?

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Print how fast the kernels of a GPU are instead, beside a copy of the same bytes.")
  var perf = false

  @Option(
    help: ArgumentHelp(
      "Verify only kernels whose names begin so: attention, \"linear fp8\"; with --perf: experts alone.",
      valueName: "name"))
  var only: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "At most so many cases of each kernel, spread over all, and no long prompts: for "
        + "compute-sanitizer, under which a GPU is hundreds of times slower.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var cases: Size?

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if only != nil && model != nil {
      throw ValidationError("--only picks kernels to verify; leave out --model")
    }
    if perf, let only, only != "experts" {
      throw ValidationError(
        "--only: with --perf there is \"experts\" alone; give it, or leave out --only")
    }
    if cases != nil && (model != nil || perf) {
      throw ValidationError("--cases is for verifying kernels; leave out --model and --perf")
    }
    if model != nil && device.isNarrow {
      throw ValidationError(
        "--linear and --attention-precision have no tolerance for whole models; leave them out, or "
          + "leave out --model")
    }
    if perf && device.isNarrow {
      throw ValidationError(
        "--perf measures both precisions; leave out --linear and --attention-precision")
    }
    if device.linear != .bf16 && device.attentionPrecision != .native {
      throw ValidationError("--linear and --attention-precision are verified one at a time")
    }
    guard model == nil else {
      if perf { throw ValidationError("--perf measures kernels; leave out --model or --perf") }
      return
    }
    if tokens != nil || promptFile != nil || patterns != nil {
      throw ValidationError("--length, --prompt-file and --patterns need --model DIR")
    }
  }

  func run() throws {
    if let model { return try verify(model: model) }
    if perf { return try printSpeed() }
    var results: [(variant: String, checks: [KernelCheck])] = []
    let variants = try variants()
    for variant in variants {
      for notice in variant.backend.notices { StandardError.note(notice) }
      if !json { StandardError.note("verifying \(variant.name)") }
      let checks = KernelVerifier.verify(variant.backend, prefix: only, cases: cases?.value)
      results.append((variant.name, checks))
    }
    guard results.contains(where: { !$0.checks.isEmpty }) else {
      throw ValidationError(
        "--only: no kernel here has a name that begins with \"\(only ?? "")\"; give a part of one")
    }
    try StandardOutput.write(
      json
        ? Self.json(results).describingBuild(on: variants.first.map { [$0.backend] } ?? [])
          .serialized() + "\n"
        : Self.table(results))
    let misses = results.flatMap { $0.checks.filter { !$0.passed } }.count
    guard misses == 0 else {
      StandardError.note("\(misses) kernels miss their tolerance; do not trust this build here")
      throw ExitCode(1)
    }
  }

  private func printSpeed() throws {
    let backend = try device.makeBackend()
    let narrow = Result { try device.device.makeBackend(linear: .fp8) }
    try StandardOutput.write(
      KernelSpeed.table(
        try KernelSpeed.measure(
          backend, narrow: try? narrow.get(), rows: 131_072, onlyExperts: only != nil)))
    // Not every GPU has them.
    if case .failure(let error) = narrow {
      try StandardOutput.write("linear layers in fp8 were not measured: \(ErrorText.of(error))\n")
    }
  }

  /// All that the device has, or the one that was asked for.
  private func variants() throws -> [(name: String, backend: any Backend)] {
    guard device.isNarrow else {
      return try device.device.variants(threads: device.threads?.value)
    }
    let backend = try device.makeBackend()
    return [("\(backend.name), fp8", backend)]
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

  private static func json(_ results: [(variant: String, checks: [KernelCheck])]) -> JSONValue {
    let entries = results.flatMap { variant, checks in
      checks.map { check in
        JSONValue.object([
          ("kernel", .string(check.kernel)), ("variant", .string(variant)),
          ("cases", .integer(check.cases)), ("worst", .number(check.worst)),
          ("worst_case", .string(check.worstCase)), ("passed", .boolean(check.passed)),
        ])
      }
    }
    return .object([
      ("passed", .boolean(results.allSatisfy { $0.checks.allSatisfy(\.passed) })),
      ("kernels", .array(entries)),
    ])
  }
}
