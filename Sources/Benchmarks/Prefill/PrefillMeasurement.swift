import EvaluationTasks
package import JSON
public import MInference
import TextReports

/// The time to the first token of one prompt with one kind of attention.
public struct PrefillMeasurement: Sendable {
  public var mode: String
  public var tokens: Int
  /// The best of the runs.
  public var timeToFirstToken: Double
  /// Of all runs, in their order.
  public var times: [Double]
  public var report: PrefillReport

  /// A prompt of exactly `tokens` tokens: the beginning of `text`, or of the chronicle.
  ///
  /// Throws ``DemoError/textTooShort(tokens:wanted:)`` if the text is shorter.
  public static func prompt(
    of tokens: Int, from text: String?, for model: LanguageModel
  ) throws -> [Int32] {
    guard tokens <= model.contextLength else {
      throw LanguageModelError.promptTooLong(tokens: tokens, contextLength: model.contextLength)
    }
    var ids: [Int32] = []
    if let text {
      ids = model.tokenizer.encode(text, addTemplate: false)
    } else {
      var chronicle = try TownChronicle(seed: 1)
      while ids.count < tokens {
        let paragraph = chronicle.nextParagraph() + "\n\n"
        ids += model.tokenizer.encode(paragraph, addTemplate: false)
      }
    }
    guard ids.count >= tokens else {
      throw DemoError.textTooShort(tokens: ids.count, wanted: tokens)
    }
    return Array(ids[..<tokens])
  }

  /// One way to read prompts.
  public struct Way: Sendable {
    public var mode: String
    public var options: SessionOptions
    public var measuresRecall: Bool

    public init(mode: String, options: SessionOptions, measuresRecall: Bool) {
      self.mode = mode
      self.options = options
      self.measuresRecall = measuresRecall
    }
  }

  /// Reads the prompt in all ways, `runs` times each.
  ///
  /// The ways take turns, and every second round goes backwards, so that neither the first run after loading nor
  /// a drift of the machine is one way's alone. Recall is measured in the last round where there is one round,
  /// and in a run of its own, which is not timed, where there are several.
  public static func measure(
    _ ways: [Way], prompt: [Int32], model: LanguageModel, runs: Int,
    progress: (Way) -> @Sendable (PrefillProgress) -> Void
  ) async throws -> [PrefillMeasurement] {
    let runs = max(1, runs)
    var rows: [PrefillMeasurement?] = ways.map { _ in nil }
    for run in 0..<runs {
      for way in run % 2 == 0 ? Array(ways.indices) : ways.indices.reversed() {
        let (time, report) = try await firstToken(
          ways[way], prompt: prompt, model: model,
          measuresRecall: ways[way].measuresRecall && runs == 1, progress: progress)
        var row =
          rows[way]
          ?? PrefillMeasurement(
            mode: ways[way].mode, tokens: prompt.count, timeToFirstToken: .infinity, times: [],
            report: report)
        if time < row.timeToFirstToken { (row.timeToFirstToken, row.report) = (time, report) }
        row.times.append(time)
        rows[way] = row
      }
    }
    if runs > 1 {
      for way in ways.indices where ways[way].measuresRecall {
        rows[way]?.report.recall = try await firstToken(
          ways[way], prompt: prompt, model: model, measuresRecall: true, progress: progress
        ).report.recall
      }
    }
    return rows.compactMap { $0 }
  }

  private static func firstToken(
    _ way: Way, prompt: [Int32], model: LanguageModel, measuresRecall: Bool,
    progress: (Way) -> @Sendable (PrefillProgress) -> Void
  ) async throws -> (time: Double, report: PrefillReport) {
    var options = way.options
    options.measuresRecall = measuresRecall
    let session = try model.makeSession(capacity: prompt.count + 1, options: options)
    let report = try await session.prefill(prompt, progress: progress(way))
    for try await _ in session.generate(GenerationOptions(maximumTokens: 1)) {}
    return (session.metrics.timeToFirstToken, report)
  }

  /// A table with the ratio to the row of the same length that came first.
  package static func table(_ rows: [PrefillMeasurement]) -> String {
    var table = TextTable(
      header: [
        "tokens", "attention", "first token", "ratio", "density", "recall", "worst", "index",
        "kernel", "other",
      ])
    for row in rows {
      table.append([
        Quantity.grouped(row.tokens), row.mode, Quantity.seconds(row.timeToFirstToken),
        Quantity.fixed(ratio(row, in: rows), 2), Quantity.percent(row.report.density),
        row.report.recall.map { Quantity.fixed($0.mean, 3) } ?? "",
        row.report.recall.map { Quantity.fixed($0.worst.mean, 3) } ?? "",
        Quantity.seconds(row.report.indexSeconds), Quantity.seconds(row.report.kernelSeconds),
        Quantity.seconds(row.report.otherSeconds),
      ])
    }
    return table.text
  }

  /// - Parameter hostOperations: Operations that the host served in the device's stead.
  package static func json(
    _ rows: [PrefillMeasurement], peakMemory: Int, hostOperations: [String]
  ) -> JSONValue {
    let entries = rows.map { row in
      JSONValue.object([
        ("tokens", .integer(row.tokens)), ("attention", .string(row.mode)),
        ("time_to_first_token_s", .number(row.timeToFirstToken)),
        ("times_to_first_token_s", .array(row.times.map { .number($0) })),
        ("ratio_to_dense", .number(ratio(row, in: rows))),
        ("density", .number(row.report.density)),
        ("recall", row.report.recall.map { .number($0.mean) } ?? .null),
        ("worst_recall", row.report.recall.map { .number($0.worst.mean) } ?? .null),
        ("index_s", .number(row.report.indexSeconds)),
        ("kernel_s", .number(row.report.kernelSeconds)),
      ])
    }
    return .object([
      ("peak_memory_bytes", .integer(peakMemory)),
      ("host_operations", .array(hostOperations.map { .string($0) })),
      ("runs", .array(entries)),
    ])
  }

  /// How many times as long the first row of the same length took: the median over rounds, in each of which both
  /// were run.
  package static func ratio(_ row: PrefillMeasurement, in rows: [PrefillMeasurement]) -> Double {
    guard let first = rows.first(where: { $0.tokens == row.tokens }) else { return 1 }
    let ratios = zip(first.times, row.times).map { $0 / $1 }.sorted()
    guard !ratios.isEmpty else { return 1 }
    return (ratios[(ratios.count - 1) / 2] + ratios[ratios.count / 2]) / 2
  }
}
