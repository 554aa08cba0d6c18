import Benchmarks
import Compute
import MInference
import Testing

/// What the attention benchmark says of its cases; times are the machine's.
@Suite struct AttentionBenchmarkTests {
  private static let shape = AttentionShape(queryHeads: 4, keyValueHeads: 2, headDim: 64)

  @Test func `every case is one line with its density, and rates follow from it`() throws {
    var benchmark = AttentionBenchmark(tokens: 1000, shape: Self.shape)
    benchmark.parts = AttentionBenchmark.Part.allCases.filter { $0 != .product }
    benchmark.densities = [0.3, 0.6]
    benchmark.sharings = [.group, .head]
    benchmark.budgets = [.init(columns: 40, offsets: 120), .init(columns: 30, offsets: 200)]
    benchmark.settings = [.clustered, .scattered]
    benchmark.exact = true
    benchmark.repetitions = 1
    let lines = try benchmark.run(on: Device.cpu.makeBackend(threads: 1))
    // Dense, tiles, mixed, slashes, estimation, one row.
    let counts = [1, 4, 2, 4, 1, 1]
    #expect(lines.count == counts.reduce(0, +))
    #expect(Set(lines.map { $0.name + $0.detail }).count == lines.count)
    let causal = Double(SparseIndex.causalPairs(firstPosition: 0, rows: 1000) * 4)
    for line in lines where line.density != nil {
      let density = try #require(line.density)
      let rate = try #require(line.operationsPerSecond)
      #expect(density > 0 && density <= 1 && line.seconds > 0)
      let operations: Double = density * causal * 256
      let share: Double = rate * line.seconds / operations
      #expect(abs(share - 1) < 1e-9)
    }
    #expect(lines[0].name == "dense" && lines[0].density == 1)
    for line in lines where line.name == "vertical-slash" {
      #expect(try #require(line.publishedDensity) > 0.1)
      // The rate was measured with other heads, on a GPU.
      #expect(line.publishedRatio == nil)
    }
    let table = AttentionBenchmark.table(lines)
    #expect(table.contains("(40, 120) clustered") && table.contains("rules of 64 rows"))
    #expect(!table.contains("kernel") && !table.contains("rounding"))
  }
}
