#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
package import JSON

/// Perplexity by length, as in the paper's curve over PG-19: windows of a text are scored whole.
public struct PerplexityRun: Sendable {
  public var text: TextWindows

  public init(_ text: TextWindows) { self.text = text }

  public init(lengths: [Int], windows: Int) {
    self.init(TextWindows(lengths: lengths, windows: windows))
  }

  /// One window with one method. The unit of resampling is a block of neighbouring tokens, of which
  /// a window has up to 64: even a single window gives an interval.
  public struct Record: Sendable, Hashable {
    public var length: Int
    public var window: Int
    public var method: String
    /// Sums of negative log-probabilities over blocks, and the tokens of each.
    public var blockSums: [Double]
    public var blockTokens: [Int]
    public var seconds: Double
    public var density: Double

    public var perplexity: Double {
      exp(blockSums.reduce(0, +) / Double(max(1, blockTokens.reduce(0, +))))
    }
  }

  /// Scores what the results file does not hold yet. Throws ``RunError``, ``TaskError``, and what
  /// the scorer throws.
  public func run(
    _ text: String, on scorer: some TextScorer, results: String? = nil,
    run: [(name: String, value: String)] = [],
    progress: @escaping @Sendable (EvaluationRun.Progress) -> Void = { _ in }
  ) async throws -> [Record] {
    try await EvaluationRun.run(
      self.text, of: scorer.tokens(of: text), methods: scorer.methods,
      results: EvaluationRun.Results(path: results, run: run), name: Record.task,
      progress: progress
    ) { window, tokens, method, reading in
      Record(
        length: window.length, window: window.number, method: method,
        scored: try await scorer.score(tokens, method: method, progress: reading))
    }
  }
}

extension PerplexityRun.Record: RunLine {
  static func task(length: Int, window: Int) -> String { "perplexity-\(length)-\(window)" }

  package init(length: Int, window: Int, method: String, scored: ScoredTokens) {
    let values = scored.logProbabilities
    let size = max(1, (values.count + 63) / 64)
    let blocks = stride(from: 0, to: values.count, by: size).map {
      values[$0..<min($0 + size, values.count)]
    }
    self.init(
      length: length, window: window, method: method,
      blockSums: blocks.map { $0.reduce(0) { $0 - Double($1) } }, blockTokens: blocks.map(\.count),
      seconds: scored.seconds, density: scored.density)
  }

  package var key: RunKey {
    RunKey(task: Self.task(length: length, window: window), method: method)
  }

  package var json: JSONValue {
    .object([
      ("length", .integer(length)), ("window", .integer(window)), ("method", .string(method)),
      ("perplexity", .number(perplexity)), ("seconds", .number(seconds)),
      ("density", .number(density)), ("block_sums", .array(blockSums.map { .number($0) })),
      ("block_tokens", .array(blockTokens.map { .integer($0) })),
    ])
  }

  package init?(_ value: JSONValue) {
    guard let length = value["length"]?.int, let window = value["window"]?.int,
      let method = value["method"]?.text, let seconds = value["seconds"]?.double,
      let density = value["density"]?.double,
      let sums = value["block_sums"]?.elements?.compactMap(\.double),
      let tokens = value["block_tokens"]?.elements?.compactMap(\.int), sums.count == tokens.count
    else { return nil }
    self.init(
      length: length, window: window, method: method, blockSums: sums, blockTokens: tokens,
      seconds: seconds, density: density)
  }
}
