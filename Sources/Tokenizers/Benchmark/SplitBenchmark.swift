/// Measures splitting alone, before any merging, on one thread, in CPU time, the best of several runs.
package struct SplitBenchmark: Sendable {
  /// One pattern on one text.
  package struct Row: Sendable {
    /// The name of the pattern, as GGUF files name it.
    package let pattern: String
    /// Whether a scanner written for the pattern split, and not the matcher that takes any expression.
    package let isScanner: Bool
    package let text: String
    package let bytes: Int
    package let pieces: Int
    /// CPU seconds of the best run.
    package let seconds: Double

    package var megabytesPerSecond: Double { Double(bytes) / seconds / 1e6 }
  }

  /// Patterns whose tokenizers many models share, and all that no scanner is written for.
  package static let patterns = [
    "gpt-2", "llama-bpe", "qwen35", "gpt-4o", "tekken", "deepseek-llm", "deepseek-coder",
    "deepseek-v3",
  ]

  /// Splits every text by every pattern with the matcher, and by those that a scanner is written for with
  /// that, too.
  ///
  /// - Parameters:
  ///   - texts: Well-formed UTF-8; ordinary kinds of sample text if there are none.
  ///   - byteCount: Of each sample text.
  ///   - repetitions: Of each measurement; the best counts.
  package static func run(
    texts: [(name: String, bytes: [UInt8])] = [], byteCount: Int = 1_000_000, repetitions: Int = 3
  ) throws(TokenizerError) -> [Row] {
    let kinds: [SampleText.Kind] = [.prose, .code, .chinese, .unicode]
    let texts =
      texts.isEmpty
      ? kinds.map { (name: $0.rawValue, bytes: SampleText.make($0, count: byteCount)) } : texts
    var rows: [Row] = []
    for name in patterns {
      guard let preTokenizer = GGUFPreTokenizer(name: name) else { continue }
      for usesScanners in preTokenizer.hasScanner ? [true, false] : [false] {
        let stages = try preTokenizer.splits(file: name, usingScanners: usesScanners)
        for text in texts {
          var seconds = Double.infinity
          var pieces = 0
          for _ in 0..<repetitions {
            var cut = Pieces(text.bytes, beginsText: true)
            let start = ProcessorTime.ofThread
            for stage in stages { stage.apply(to: &cut) }
            seconds = min(seconds, ProcessorTime.ofThread - start)
            pieces = cut.ends.count
          }
          rows.append(
            Row(
              pattern: name, isScanner: usesScanners, text: text.name, bytes: text.bytes.count,
              pieces: pieces, seconds: seconds))
        }
      }
    }
    return rows
  }
}
