import KernelVerification
import TextReports
import ArgumentParser
import JSON
import MInference

/// `minference verify --model`: one line a comparison, as it is made.
extension VerifyCommand {
  func verify(model directory: String) throws {
    let threads = device.threads?.value
    let backend = try device.makeBackend()
    let checkpoint = try openWeightSource(at: directory)
    let prompt = try ModelPrompt.find(
      directory: directory, text: try promptFile.map { try InputText.read(path: $0) },
      tokens: tokens?.value, configuration: checkpoint.configuration)
    let found = try PatternSource.find(
      given: patterns, directory: directory, configuration: checkpoint.configuration)
    for notice in backend.notices { StandardError.note(notice) }
    let result = try ModelVerifier.verify(
      checkpoint, on: backend, cpu: try device.device.comparisonBackend(threads: threads),
      prompt: prompt, patterns: found.patterns
    ) { verification in
      guard !json else { return }
      StandardError.note(
        "\(directory): \(backend.name) against \(verification.reference), "
          + "\(Quantity.grouped(prompt.ids.count)) tokens of \(prompt.source); tolerances from "
          + verification.toleranceSource)
    } report: { check in
      if !json { try? StandardOutput.write(Self.line(check)) }
    }
    if json {
      try StandardOutput.write(
        Self.json(result).describingBuild(on: [backend]).serialized() + "\n")
    }
    let misses = result.checks.count { !$0.passed }
    guard result.passed else {
      StandardError.note(
        "\(directory): \(misses) of \(result.checks.count) comparisons miss their tolerance")
      throw ExitCode(1)
    }
  }

  /// Errors are shares of the largest logit at a position.
  private static func line(_ check: ModelCheck) -> String {
    "\(check.passed ? "ok  " : "MISS") \(Quantity.padRight(check.name, to: 52)) "
      + "\(Quantity.padLeft("\(check.positions)", to: 6)) positions  worst \(text(check.error.worst)) of "
      + "\(text(check.tolerance.worst))  typical \(text(check.error.typical)) of "
      + "\(text(check.tolerance.typical))" + (check.note.isEmpty ? "" : "  \(check.note)") + "\n"
  }

  private static func text(_ share: Double) -> String {
    share.isFinite ? Quantity.fixed(share, 6) : "-"
  }

  private static func json(_ result: ModelVerification) -> JSONValue {
    func error(_ worst: Double, _ typical: Double) -> JSONValue {
      .object([("worst", .number(worst)), ("typical", .number(typical))])
    }
    return .object([
      ("passed", .boolean(result.passed)), ("reference", .string(result.reference)),
      ("tolerances", .string(result.toleranceSource)),
      (
        "comparisons",
        .array(
          result.checks.map { check in
            .object([
              ("name", .string(check.name)), ("positions", .integer(check.positions)),
              ("error", error(check.error.worst, check.error.typical)),
              ("tolerance", error(check.tolerance.worst, check.tolerance.typical)),
              ("passed", .boolean(check.passed)), ("note", .string(check.note)),
            ])
          })
      ),
    ])
  }
}
