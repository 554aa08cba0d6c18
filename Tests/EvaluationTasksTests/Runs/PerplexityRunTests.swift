import EvaluationTasks
import Synchronization
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A token is a byte; its probability is one over its value, for "sparse" a little less.
private final class FakeScorer: TextScorer {
  let methods = ["dense", "sparse"]
  let scored = Mutex(0)

  func tokens(of text: String) throws -> [Int32] { text.utf8.map { Int32($0) } }

  func score(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> ScoredTokens {
    scored.withLock { $0 += 1 }
    let loss: Float = method == "dense" ? 0 : 0.01
    return ScoredTokens(
      logProbabilities: tokens.dropFirst().map { -logf(Float($0)) - loss }, seconds: 1, density: 0.5
    )
  }
}

@Suite struct PerplexityRunTests {
  private let text = String((0..<5000).map { Character(Unicode.Scalar(UInt8(60 + $0 * $0 % 50))) })

  @Test
  func
    `perplexity is exp of the mean loss over all windows, and the ratio is over the same tokens`()
    async throws
  {
    let run = PerplexityRun(lengths: [100, 1000], windows: 3)
    #expect(run.text.starts(length: 1000, tokens: 5000) == [0, 2000, 4000])
    let records = try await run.run(text, on: FakeScorer())
    #expect(records.count == 12)
    let summary = PerplexitySummary(records, methods: ["dense", "sparse"])
    for length in [100, 1000] {
      let bytes = Array(text.utf8)
      let losses = run.text.starts(length: length, tokens: 5000).flatMap { start in
        bytes[start + 1..<start + length].map { log(Double($0)) }
      }
      let expected = exp(losses.reduce(0, +) / Double(losses.count))
      let dense = summary.perplexity(length, "dense")
      #expect(abs(dense.mean - expected) < 1e-4 * expected)
      #expect(dense.low < dense.mean && dense.mean < dense.high)
      let ratio = summary.ratio(length, "sparse")
      #expect(abs(ratio.mean - exp(0.01)) < 1e-5)
      #expect(ratio.high - ratio.low < 1e-4)
    }
    #expect(summary.markdown.contains("Ratio to dense on the same tokens"))
  }

  @Test func `results are resumed`() async throws {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let first = FakeScorer()
      let records = try await PerplexityRun(lengths: [100], windows: 2).run(
        text, on: first, results: file)
      let second = FakeScorer()
      let more = try await PerplexityRun(lengths: [100, 200], windows: 2).run(
        text, on: second, results: file)
      #expect(second.scored.withLock { $0 } == 4)
      #expect(Array(more.prefix(4)) == records)
    }
  }

  @Test func `a text that is too short is named`() async {
    await #expect(throws: RunError.textTooShort(tokens: 5000, wanted: 6000)) {
      _ = try await PerplexityRun(lengths: [6000], windows: 1).run(text, on: FakeScorer())
    }
  }
}
