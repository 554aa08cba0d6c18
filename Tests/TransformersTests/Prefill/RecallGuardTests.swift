import Checkpoints
import Compute
import SparseAttention
import Testing
import Transformers

/// Watching recall while a sparse prefill runs.
struct RecallGuardTests {
  private static let layers = 2
  private static let heads = 4
  private static let tokens = 1000

  /// A model whose key-value heads before `diffuse` attend to everything alike: without keys every
  /// score is 0.
  private func checkpoint(diffuse: Int) throws -> TemporaryCheckpoint {
    try TemporaryCheckpoint(layers: Self.layers, queryHeads: Self.heads) { tensors in
      for layer in 0..<Self.layers {
        let name = "model.layers.\(layer).self_attn.k_proj.weight"
        for row in 0..<diffuse * 16 {
          for column in 0..<32 { tensors[name]?.floats[row * 32 + column] = 0 }
        }
      }
    }
  }

  private func planner(_ patterns: [HeadPattern]) -> AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(
        patterns: Array(repeating: patterns, count: Self.layers)), exact: true)
  }

  private func prefill(
    _ model: Transformer, _ planner: AttentionPlanner?, _ monitor: RecallMonitor?,
    chunk: Int? = nil, measureRecall: Bool = false
  ) throws -> PrefillResult {
    try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: try model.makeCache(capacity: Self.tokens),
      options: PrefillOptions(
        planner: planner, chunk: chunk, rowBlock: 256, measureRecall: measureRecall,
        monitor: monitor))
  }

  @Test(arguments: TestBackend.allCases)
  func `heads that must fail are found, and dense ones make the logits dense`(
    backend: TestBackend
  ) throws {
    // All heads spread their attention evenly; a window of 20 keys keeps next to nothing.
    let model = try checkpoint(diffuse: 2).load(backend)
    let weak = planner(Array(repeating: .aShape(sink: 4, local: 16), count: Self.heads))
    let dense = try prefill(model, nil, nil)
    let sparse = try prefill(model, weak, RecallMonitor())
    let kept = try prefill(model, weak, RecallMonitor(computesWeakHeadsDensely: true))
    let found = try #require(sparse.report.monitor)
    let mended = try #require(kept.report.monitor)
    for report in [found, mended] {
      #expect(Set(report.weakHeads.map { [$0.layer, $0.head] }).count == Self.layers * Self.heads)
      #expect(report.weakHeads.allSatisfy { $0.recall.mean < 0.5 && $0.firstPosition == 0 })
      #expect(report.seconds > 0)
    }
    #expect(found.weakHeads.allSatisfy { !$0.isComputedDensely })
    #expect(mended.weakHeads.allSatisfy { $0.isComputedDensely })
    #expect(distance(kept.logits, from: dense.logits, width: model.vocabularySize) < 2e-5)
    #expect(distance(sparse.logits, from: dense.logits, width: model.vocabularySize) > 1e-3)

    #expect(kept.report.density == 1 && mended.recall?.worst.mean == 1)
    let more =
      kept.report.computedPairs.joined().reduce(0, +)
      - sparse.report.computedPairs.joined().reduce(0, +)
    #expect(mended.extraPairs == more && more > 0)
    #expect(mended.extraSeconds > 0 && mended.extraSeconds < kept.report.kernelSeconds)
    #expect(found.extraPairs == 0 && found.extraSeconds == 0)
    #expect(try #require(found.recall).mean < 0.5)
  }

  @Test(arguments: TestBackend.allCases)
  func `a head that keeps its mass is left alone beside a weak one`(backend: TestBackend) throws {
    // Key-value head 0 (query heads 0 and 1) is diffuse. Heads 1 and 3 are dense by their pattern,
    // and head 2 leaves out a few keys alone.
    let model = try checkpoint(diffuse: 1).load(backend)
    let plan = planner([
      .aShape(sink: 4, local: 16), .dense, .aShape(sink: 4, local: 600), .dense,
    ])
    let report = try prefill(
      model, plan, RecallMonitor(floor: 0.3, computesWeakHeadsDensely: true)
    ).report
    let monitor = try #require(report.monitor)
    #expect(monitor.weakHeads.map { [$0.layer, $0.head] } == [[0, 0], [1, 0]])
    for layer in 0..<Self.layers {
      #expect(report.headDensities[layer][0] == 1)
      #expect(monitor.headRecalls[layer][1] == nil && monitor.headRecalls[layer][3] == nil)
      #expect(try #require(monitor.headRecalls[layer][2]).mean > 0.3)
    }
    #expect(report.computedPairs[1][2] < report.causalPairs[1][2])
  }

  @Test func `a head is judged by the latest rows where a chunk has few`() throws {
    let model = try checkpoint(diffuse: 2).load(.reference)
    let plan = planner(Array(repeating: .aShape(sink: 0, local: 200), count: Self.heads))
    // A row at position p keeps about 200 / p: less and less, down to a fifth.
    let report = try prefill(model, plan, RecallMonitor(floor: 0.6), chunk: 64).report
    let weak = try #require(report.monitor).weakHeads
    let first = try #require(weak.map(\.firstPosition).min())
    // One row a chunk: single rows are under the floor from position 333 on, their mean later.
    #expect(first > 333 && first < 900)
    #expect(weak.allSatisfy { $0.recall.rows > 4 && $0.recall.rows <= 16 })
    #expect(weak.contains { $0.layer == 1 && $0.head == 3 })
  }

  @Test func `evenly spread attention is estimated as the share of keys, row by row`() throws {
    let checkpoint = try checkpoint(diffuse: 2)
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory),
      backend: ReferenceBackend(tile: TileShape(rows: 1, columns: 1)))
    let plan = planner(Array(repeating: .aShape(sink: 0, local: 20), count: Self.heads))
    let report = try #require(
      try prefill(model, plan, RecallMonitor(floor: 0), chunk: 300).report.monitor)
    #expect(report.weakHeads.isEmpty)
    let rows = [0..<300, 300..<600, 600..<900, 900..<1000].flatMap {
      RecallMonitor.sampledRows(of: $0, from: 20, tileRows: 1)
    }
    let expected = rows.map { 20 / Double($0 + 1) }.reduce(0, +) / Double(rows.count)
    for head in report.headRecalls.joined() {
      let recall = try #require(head)
      #expect(recall.rows == rows.count && abs(recall.mean - expected) < 1e-5)
    }
  }

  @Test func `the estimate is near the recall that is measured`() throws {
    let model = try checkpoint(diffuse: 0).load()
    let plan = planner([
      .aShape(sink: 8, local: 100), .verticalSlash(vertical: 40, slash: 60),
      .aShape(sink: 1, local: 400), .blockSparse(topK: 3),
    ])
    let report = try prefill(model, plan, RecallMonitor(floor: 0), measureRecall: true).report
    let watched = try #require(report.monitor).headRecalls
    let measured = try #require(report.headRecalls)
    func mean(_ heads: [[HeadRecall?]]) throws -> Double {
      try heads.joined().reduce(0) { $0 + (try #require($1).mean) } / 8
    }
    // A few rows a head stand for three hundred.
    #expect(abs(try mean(watched) - mean(measured)) < 0.1)
    #expect(try mean(measured) < 0.9)
  }

  @Test func `watching changes nothing, and dense prefill is not watched`() throws {
    let model = try checkpoint(diffuse: 1).load()
    let plan = planner(Array(repeating: .verticalSlash(vertical: 30, slash: 50), count: 4))
    let watched = try prefill(model, plan, RecallMonitor(), chunk: 256)
    let plain = try prefill(model, plan, nil, chunk: 256)
    #expect(watched.logits == plain.logits)
    #expect(watched.report.computedPairs == plain.report.computedPairs)
    #expect(plain.report.monitor == nil)
    #expect(try prefill(model, nil, RecallMonitor()).report.monitor == nil)
    // Of plans that are dense throughout there is nothing to say.
    let dense = planner(Array(repeating: .dense, count: 4))
    let report = try #require(try prefill(model, dense, RecallMonitor()).report.monitor)
    #expect(report.recall == nil && report.weakHeads.isEmpty)
  }

  @Test(arguments: [64, 100, 300, 4096, 1_000_000], [0, 512])
  func `few rows are sampled, ascending, in few tiles`(count: Int, start: Int) {
    let chunk = start..<start + count
    for (tileRows, first) in [(32, 0), (128, start + 40), (1, 1 << 30)] {
      let rows = RecallMonitor.sampledRows(of: chunk, from: first, tileRows: tileRows)
      #expect(rows == Set(rows).sorted() && rows.allSatisfy(chunk.contains) && !rows.isEmpty)
      let tiles = Set(rows.map { $0 / tileRows }).count
      #expect(rows.count <= 36)
      if start > 0 { #expect(tiles <= max(1, count / (50 * tileRows) + 1) || tileRows == 1) }
      if first < chunk.upperBound { #expect((rows.first ?? 0) >= min(first, chunk.upperBound - 4)) }
    }
    // A prompt's own last row is always among them.
    #expect(
      RecallMonitor.sampledRows(of: 0..<count, from: 0, tileRows: 32).last == count - 1)
  }
}
