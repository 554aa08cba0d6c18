/// Measures loading and encoding on one thread, in CPU time, the best of several runs.
package struct TokenizerBenchmark: Sendable {
  /// One kind of text.
  package struct Row: Sendable {
    /// The kind, or the name of the text given.
    package let name: String
    package let bytes: Int
    package let tokens: Int
    /// CPU seconds of the best run.
    package let seconds: Double

    package var megabytesPerSecond: Double { Double(bytes) / seconds / 1e6 }
    package var nanosecondsPerByte: Double { seconds * 1e9 / Double(bytes) }
  }

  /// CPU seconds of the best load.
  package let loadSeconds: Double
  package let vocabularySize: Int
  /// Prose is the first row.
  package let rows: [Row]

  /// How many times as much a byte of a row costs as a byte of prose.
  package func costRelativeToProse(_ row: Row) -> Double {
    rows.first.map { row.nanosecondsPerByte / $0.nanosecondsPerByte } ?? .nan
  }

  /// Loads a tokenizer and encodes `byteCount` bytes of every kind of sample text.
  ///
  /// - Parameters:
  ///   - load: Loads the tokenizer.
  ///   - texts: further texts, such as a real book under the name of its file; the first one is what others
  ///     are compared with.
  ///   - repetitions: of each measurement; the best counts.
  /// - Throws: What loading throws, and `TokenizerError` when a text is not UTF-8.
  package static func run(
    load: () throws -> Tokenizer, texts: [(name: String, bytes: [UInt8])] = [],
    byteCount: Int = 1_000_000, repetitions: Int = 5
  ) throws -> TokenizerBenchmark {
    var loadSeconds = Double.infinity
    var tokenizer = try load()
    for _ in 0..<repetitions {
      let start = ProcessorTime.ofThread
      tokenizer = try load()
      loadSeconds = min(loadSeconds, ProcessorTime.ofThread - start)
    }

    let samples = SampleText.Kind.allCases.map {
      (name: $0.rawValue, bytes: SampleText.make($0, count: byteCount))
    }
    var rows: [Row] = []
    for text in texts + samples {
      var seconds = Double.infinity
      var tokens = 0
      for _ in 0..<repetitions {
        let start = ProcessorTime.ofThread
        tokens = try tokenizer.encode(bytes: text.bytes, named: text.name).count
        seconds = min(seconds, ProcessorTime.ofThread - start)
      }
      rows.append(Row(name: text.name, bytes: text.bytes.count, tokens: tokens, seconds: seconds))
    }
    return TokenizerBenchmark(
      loadSeconds: loadSeconds, vocabularySize: tokenizer.vocabularySize, rows: rows)
  }
}
