package import JSON
import TextReports

/// Recall of every head against dense attention, by length and method.
public struct RecallRun: Sendable {
  public var text: TextWindows

  public init(_ text: TextWindows) { self.text = text }

  public init(lengths: [Int], windows: Int = 1) {
    self.init(TextWindows(lengths: lengths, windows: windows))
  }

  /// One window with one method.
  public struct Record: Sendable, Hashable {
    public var length: Int
    public var window: Int
    public var method: String
    public var reading: RecallReading
  }

  /// Measures what the results file does not hold yet. Throws as ``PerplexityRun``.
  public func run(
    _ text: String, on measurer: some RecallMeasurer, results: String? = nil,
    run: [(name: String, value: String)] = [],
    progress: @escaping @Sendable (EvaluationRun.Progress) -> Void = { _ in }
  ) async throws -> [Record] {
    try await EvaluationRun.run(
      self.text, of: measurer.tokens(of: text), methods: measurer.methods,
      results: EvaluationRun.Results(path: results, run: run), name: Record.task,
      progress: progress
    ) { window, tokens, method, reading in
      Record(
        length: window.length, window: window.number, method: method,
        reading: try await measurer.recall(tokens, method: method, progress: reading))
    }
  }

  /// Tables: all methods and lengths in one; then, for each method, every head of every layer.
  public static func markdown(_ records: [Record], methods: [String]) -> String {
    var table = MarkdownTable(
      header: ["tokens", "attention", "recall", "worst head", "10th percentile", "density"])
    for record in records {
      let worst = record.reading.worst
      table.append([
        Quantity.grouped(record.length), record.method, Quantity.fixed(record.reading.mean, 4),
        worst.map { "\(Quantity.fixed($0.value.mean, 4)) (layer \($0.layer) head \($0.head))" }
          ?? "", worst.map { Quantity.fixed($0.value.tenthPercentile, 4) } ?? "",
        Quantity.percent(record.reading.density),
      ])
    }
    var text =
      "Recall, mean over heads; the head with the least, and its 10th percentile of rows\n\n"
    text += table.text
    for method in methods {
      let own = records.filter { $0.method == method }
      guard let last = own.last, let width = last.reading.heads.map(\.count).max() else { continue }
      text +=
        "\n\(method), \(Quantity.grouped(last.length)) tokens: recall (density) of each head\n\n"
      var heads = MarkdownTable(header: ["layer"] + (0..<width).map { "head \($0)" })
      for (layer, values) in last.reading.heads.enumerated() {
        heads.append(
          ["\(layer)"]
            + values.map {
              "\(Quantity.fixed($0.mean, 3)) (\(Quantity.fixed($0.density * 100, 0)) %)"
            })
      }
      text += heads.text
    }
    return text
  }
}

extension RecallRun {
  /// All records as one JSON object.
  package static func json(_ records: [Record]) -> JSONValue {
    .object([("records", .array(records.map(\.json)))])
  }
}

extension RecallRun.Record: RunLine {
  static func task(length: Int, window: Int) -> String { "recall-\(length)-\(window)" }

  package var key: RunKey {
    RunKey(task: Self.task(length: length, window: window), method: method)
  }

  package var json: JSONValue {
    func table(_ value: (RecallReading.Head) -> Double) -> JSONValue {
      .array(reading.heads.map { .array($0.map { .number(value($0)) }) })
    }
    return .object([
      ("length", .integer(length)), ("window", .integer(window)), ("method", .string(method)),
      ("seconds", .number(reading.seconds)), ("recall", table(\.mean)),
      ("tenth_percentile", table(\.tenthPercentile)), ("density", table(\.density)),
    ])
  }

  package init?(_ value: JSONValue) {
    func table(_ name: String) -> [[Double]] {
      (value[name]?.elements ?? []).map { ($0.elements ?? []).compactMap(\.double) }
    }
    let (means, tenths, densities) = (table("recall"), table("tenth_percentile"), table("density"))
    guard let length = value["length"]?.int, let window = value["window"]?.int,
      let method = value["method"]?.text, let seconds = value["seconds"]?.double,
      means.map(\.count) == tenths.map(\.count), means.map(\.count) == densities.map(\.count)
    else { return nil }
    self.init(
      length: length, window: window, method: method,
      reading: RecallReading(
        heads: means.indices.map { layer in
          means[layer].indices.map {
            RecallReading.Head(
              mean: means[layer][$0], tenthPercentile: tenths[layer][$0],
              density: densities[layer][$0])
          }
        }, seconds: seconds))
  }
}
