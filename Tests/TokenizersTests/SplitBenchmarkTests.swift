import Testing
import Tokenizers

@Suite struct SplitBenchmarkTests {
  @Test func `every pattern is measured, and the matcher cuts as the scanners do`() throws {
    let rows = try SplitBenchmark.run(byteCount: 20_000, repetitions: 1)
    for pattern in SplitBenchmark.patterns {
      let own = rows.filter { $0.pattern == pattern }
      #expect(own.count == (own.contains(where: \.isScanner) ? 8 : 4), "\(pattern)")
      for row in own {
        #expect(row.bytes >= 20_000 && row.seconds > 0 && row.pieces > 100)
        #expect(own.filter { $0.text == row.text }.allSatisfy { $0.pieces == row.pieces })
      }
    }
  }
}
