import ArgumentParser
import MInference
import TextReports

/// Prompt lengths that something is measured at.
struct LengthArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Prompt lengths, separated by commas; 4K,8K,16K,32K, as far as the model's context goes, if not "
        + "given.", valueName: "n,n"),
    transform: { try Lengths.parsed($0) })
  var lengths: [Size] = []

  private static let standard = [4096, 8192, 16384, 32768]

  /// What is said of a length that the model's context has no room for.
  static func refusal(of length: Int, within context: Int, flag: String = "--lengths") -> String {
    "\(flag): \(length) tokens are more than the model's context of \(context); give at most that"
  }

  /// The lengths that the model's context has room for. The others are told, each on a line.
  ///
  /// Throws where none is left.
  func usable(by model: LanguageModel) throws -> UsableLengths {
    let context = model.contextLength
    guard lengths.isEmpty else { return try UsableLengths(lengths.map(\.value), within: context) }
    let standard = Self.standard.filter { $0 <= context }
    return try UsableLengths(standard.isEmpty ? [context] : standard, within: context)
  }
}

/// Prompt lengths without those that are longer than the model's context.
struct UsableLengths {
  private(set) var values: [Int]
  /// Whether a length was refused.
  private var isIncomplete: Bool

  /// Notes every length that is refused. Throws where none is left.
  init(_ lengths: [Int], within context: Int) throws {
    values = lengths.filter { $0 <= context }
    isIncomplete = values.count < lengths.count
    let refusals = lengths.filter { $0 > context }.map {
      LengthArguments.refusal(of: $0, within: context)
    }
    if values.isEmpty, let first = refusals.first { throw CommandFailure(.usage, first) }
    refusals.forEach { StandardError.note($0 + " (left out)") }
  }

  var longest: Int { values.max() ?? 0 }

  /// Notes why a length is left out after all.
  mutating func refuse(_ length: Int, because error: any Error) {
    values.removeAll { $0 == length }
    isIncomplete = true
    StandardError.note(
      "\(Quantity.grouped(length)) tokens: \(FailureReport.line(for: error)) (left out)")
  }

  /// Ends the command with the code of a usage error if a length was refused, once everything else is
  /// printed.
  func finish() throws {
    if isIncomplete { throw ExitCode(ExitStatus.usage.rawValue) }
  }
}

/// Prompt lengths, separated by commas.
enum Lengths {
  static func parsed(_ text: String) throws -> [Size] {
    try List.parsed(text) { try Size.parsed($0) }
  }
}
