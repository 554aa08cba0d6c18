import TextReports

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Perplexity of several methods by length, with the ratio to the first.
public struct PerplexitySummary: Sendable {
  public let lengths: [Int]
  public let methods: [String]
  private let records: [PerplexityRun.Record]

  public init(_ records: [PerplexityRun.Record], methods: [String]) {
    self.records = records
    self.methods = methods
    lengths = Set(records.map(\.length)).sorted()
  }

  /// Blocks of all windows of a length, in the order of the windows.
  private func blocks(_ length: Int, _ method: String) -> (sums: [Double], tokens: [Int]) {
    let windows = records.filter { $0.length == length && $0.method == method }
      .sorted { $0.window < $1.window }
    return (windows.flatMap(\.blockSums), windows.flatMap(\.blockTokens))
  }

  /// exp of the mean negative log-probability over all tokens of a length's windows.
  public func perplexity(_ length: Int, _ method: String) -> Bootstrap.Estimate {
    let (sums, tokens) = blocks(length, method)
    return Bootstrap.estimate(of: sums.count, seed: 1) { indices in
      exp(Self.total(sums, indices) / Double(indices.reduce(0) { $0 + tokens[$1] }))
    }
  }

  /// Perplexity over the first method's, on the same tokens.
  public func ratio(_ length: Int, _ method: String) -> Bootstrap.Estimate {
    let (sums, tokens) = blocks(length, method)
    let (others, _) = blocks(length, methods.first ?? method)
    guard sums.count == others.count else {
      return Bootstrap.Estimate(mean: .nan, low: .nan, high: .nan)
    }
    return Bootstrap.estimate(of: sums.count, seed: 1) { indices in
      exp(
        (Self.total(sums, indices) - Self.total(others, indices))
          / Double(indices.reduce(0) { $0 + tokens[$1] }))
    }
  }

  private static func total(_ sums: [Double], _ indices: [Int]) -> Double {
    indices.reduce(0) { $0 + sums[$1] }
  }

  /// Tables of perplexities, ratios and costs.
  public var markdown: String {
    var text = "Perplexity (with 95 % bootstrap interval over blocks of tokens)\n\n"
    text += table(methods[...]) { RunSummary.interval(perplexity($0, $1), digits: 3) }
    if let first = methods.first, methods.count > 1 {
      text += "\nRatio to \(first) on the same tokens\n\n"
      text += table(methods.dropFirst()) { RunSummary.interval(ratio($0, $1), digits: 4) }
    }
    text += "\nMean seconds a window, mean density\n\n"
    text += table(methods[...]) { length, method in
      let own = records.filter { $0.length == length && $0.method == method }
      guard !own.isEmpty else { return "" }
      return "\(Quantity.fixed(Bootstrap.average(own.map(\.seconds)), 2)) "
        + "(\(Quantity.percent(Bootstrap.average(own.map(\.density)))))"
    }
    return text
  }

  private func table(
    _ columns: ArraySlice<String>, cell: (Int, String) -> String
  ) -> String {
    var table = MarkdownTable(header: ["tokens", "windows"] + columns)
    for length in lengths {
      let windows = Set(records.filter { $0.length == length }.map(\.window)).count
      table.append(
        [Quantity.grouped(length), "\(windows)"] + columns.map { cell(length, $0) })
    }
    return table.text
  }
}
