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

  /// Reads the prompt `runs` times. Recall is measured in the last run only.
  public static func measure(
    _ mode: String, prompt: [Int32], model: LanguageModel, options: SessionOptions, runs: Int,
    measuresRecall: Bool, progress: @escaping @Sendable (PrefillProgress) -> Void
  ) async throws -> PrefillMeasurement {
    var best: PrefillMeasurement?
    for run in 0..<max(1, runs) {
      var options = options
      options.measuresRecall = measuresRecall && run == max(1, runs) - 1
      let session = try model.makeSession(capacity: prompt.count + 1, options: options)
      let report = try await session.prefill(prompt, progress: progress)
      for try await _ in session.generate(GenerationOptions(maximumTokens: 1)) {}
      let time = session.metrics.timeToFirstToken
      if time < best?.timeToFirstToken ?? .infinity {
        let recall = report.recall ?? best?.report.recall
        best = PrefillMeasurement(
          mode: mode, tokens: prompt.count, timeToFirstToken: time, report: report)
        best?.report.recall = recall
      } else if let recall = report.recall {
        best?.report.recall = recall
      }
    }
    guard let best else { throw LanguageModelError.nothingPrefilled }
    return best
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

  private static func ratio(_ row: PrefillMeasurement, in rows: [PrefillMeasurement]) -> Double {
    let first = rows.first { $0.tokens == row.tokens }?.timeToFirstToken ?? row.timeToFirstToken
    return first / row.timeToFirstToken
  }
}
