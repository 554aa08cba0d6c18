import EvaluationTasks
import Testing

private struct FakeMeasurer: RecallMeasurer {
  let methods = ["a-shape"]

  func tokens(of text: String) throws -> [Int32] { text.utf8.map { Int32($0) } }

  func recall(
    _ tokens: [Int32], method: String,
    progress: @escaping @Sendable (_ fraction: Double, _ tokens: Int) -> Void
  ) async throws -> RecallReading {
    let heads: [[RecallReading.Head]] = (0..<2).map { layer in
      (0..<3).map { head -> RecallReading.Head in
        let lost = Double(layer * 3 + head) / 10
        return RecallReading.Head(
          mean: 1 - lost, tenthPercentile: 0.25, density: Double(head + 1) / 10)
      }
    }
    return RecallReading(heads: heads, seconds: Double(tokens.count))
  }
}

@Suite struct RecallRunTests {
  private let text = String(repeating: "x", count: 500)

  @Test func `recall is reported by head, with the worst one named`() async throws {
    let records = try await RecallRun(lengths: [100, 400]).run(text, on: FakeMeasurer())
    #expect(records.map(\.length) == [100, 400])
    let worst = try #require(records[0].reading.worst)
    #expect((worst.layer, worst.head) == (1, 2))
    #expect(abs(records[0].reading.mean - 0.75) < 1e-12)
    let markdown = RecallRun.markdown(records, methods: ["a-shape"])
    #expect(markdown.contains("0.5000 (layer 1 head 2)"))
    #expect(markdown.contains("| 1     | 0.700 (10 %) | 0.600 (20 %) | 0.500 (30 %) |"))
  }

  @Test func `a record survives its file`() async throws {
    try await withDirectory { directory in
      let file = directory + "/results.jsonl"
      let run = RecallRun(lengths: [100], windows: 2)
      let records = try await run.run(text, on: FakeMeasurer(), results: file)
      #expect(try await run.run(text, on: FakeMeasurer(), results: file) == records)
    }
  }
}
