import Checkpoints
import Compute
import SparseAttention
import Testing
import Transformers

struct SparsePrefillTests {
  static let layers = 3
  static let heads = 4

  func planner(_ pattern: HeadPattern, exact: Bool = true) -> AttentionPlanner {
    AttentionPlanner(
      configuration: .uniform(pattern, layers: Self.layers, heads: Self.heads), exact: exact)
  }

  /// Heads and layers of different patterns.
  var mixed: AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(patterns: [
        [.dense, .verticalSlash(vertical: 5, slash: 3), .aShape(sink: 4, local: 20), .dense],
        [
          .blockSparse(topK: 1), .verticalSlash(vertical: 9, slash: 2), .dense,
          .blockSparse(topK: 2),
        ],
        [
          .staticVerticalSlash(vertical: 2, slash: 4), .triShape(sink: 2, local: 9, last: 3),
          .aShape(sink: 1, local: 1), .verticalSlash(vertical: 1, slash: 1),
        ],
      ]), exact: true)
  }

  func checkpoint(
    _ fields: [String: String] = [:],
    edit: (inout [String: (shape: [Int], floats: [Float])]) -> Void = { _ in }
  ) throws -> TemporaryCheckpoint {
    try TemporaryCheckpoint(
      fields: fields, layers: Self.layers, queryHeads: Self.heads, edit: edit)
  }

  @Test(arguments: TestBackend.allCases, [nil, 64, 128])
  func `prefill in one chunk and in chunks, 64 too, equals its definition`(
    backend: TestBackend, chunk: Int?
  ) throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load(backend)
    let ids = TemporaryCheckpoint.ids(300)
    let size = chunk ?? 300
    let chunks = stride(from: 0, to: 300, by: size).map { $0..<min($0 + size, 300) }
    let plain = PlainForward(
      checkpoint: try Checkpoint(directory: checkpoint.directory),
      backend: ReferenceBackend(tile: model.backend.tileShape(headDim: 16)), planner: mixed)
    let expected = try plain.logits(ids, chunks: chunks)
    let values = try score(
      model, ids, PrefillOptions(planner: mixed, chunk: chunk, rowBlock: 64))
    #expect(distance(values, from: expected, width: model.vocabularySize) < 1e-4)
  }

  @Test(arguments: TestBackend.allCases)
  func `every chunk estimates as if it were the last of a prompt of its own`(
    backend: TestBackend
  ) throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load(backend)
    let ids = TemporaryCheckpoint.ids(300)
    let chunked = try score(model, ids, PrefillOptions(planner: mixed, chunk: 64))
    let cache = try model.makeCache(capacity: 300)
    var single: [Float] = []
    for start in stride(from: 0, to: 300, by: 64) {
      let part = Array(ids[start..<min(start + 64, 300)])
      single += try score(model, part, PrefillOptions(planner: mixed), cache: cache)
    }
    #expect(distance(chunked, from: single, width: model.vocabularySize) < 2e-5)
    // The chunks mattered: the whole prompt as one chunk selects otherwise.
    let whole = try score(model, ids, PrefillOptions(planner: mixed))
    #expect(distance(chunked, from: whole, width: model.vocabularySize) > 1e-3)
  }

  @Test(arguments: TestBackend.allCases)
  func `the row block changes nothing that sparse prefill computes`(backend: TestBackend) throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load(backend)
    let ids = TemporaryCheckpoint.ids(330)
    for chunk in [nil, 160] {
      func run(_ rowBlock: Int) throws -> PrefillResult {
        try model.prefill(
          ids, cache: try model.makeCache(capacity: 330),
          options: PrefillOptions(planner: mixed, chunk: chunk, rowBlock: rowBlock))
      }
      let (small, large) = (try run(1), try run(4096))
      #expect(small.report.computedPairs == large.report.computedPairs)
      #expect(distance(small.logits, from: large.logits, width: model.vocabularySize) < 2e-5)
      #expect(large.report.density < 0.95)
    }
  }

  @Test func `A-shape without a sink on tiles of one pair is a sliding window`() throws {
    let window = 24
    let backend = ReferenceBackend(tile: TileShape(rows: 1, columns: 1))
    let plain = try checkpoint()
    let sliding = try checkpoint(["model_type": "\"mistral\"", "sliding_window": "\(window)"])
    func model(_ checkpoint: TemporaryCheckpoint) throws -> Transformer {
      try Transformer(
        checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    }
    let ids = TemporaryCheckpoint.ids(100)
    let sparse = try score(
      try model(plain), ids, PrefillOptions(planner: planner(.aShape(sink: 0, local: window))))
    let expected = try score(try model(sliding), ids)
    #expect(distance(sparse, from: expected, width: 40) < 1e-6)
    let dense = try score(try model(plain), ids)
    #expect(distance(dense, from: expected, width: 40) > 1e-2)
  }

  @Test(arguments: TestBackend.allCases)
  func `budgets that take everything equal dense prefill`(backend: TestBackend) throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load(backend)
    let ids = TemporaryCheckpoint.ids(150)
    let dense = try score(model, ids)
    for pattern in [
      HeadPattern.verticalSlash(vertical: 4000, slash: 1), .blockSparse(topK: 100),
      .aShape(sink: 0, local: 9999),
    ] {
      let values = try score(model, ids, PrefillOptions(planner: planner(pattern)))
      #expect(distance(values, from: dense, width: model.vocabularySize) < 2e-5)
    }
  }

  @Test func `recall of evenly spread attention is the share of keys that are computed`() throws {
    // Without keys every score is 0, and row i puts 1 / (i + 1) on each of its keys.
    let checkpoint = try checkpoint { tensors in
      for layer in 0..<Self.layers {
        let name = "model.layers.\(layer).self_attn.k_proj.weight"
        tensors[name]?.floats = Array(repeating: 0, count: 32 * 32)
      }
    }
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory),
      backend: ReferenceBackend(tile: TileShape(rows: 1, columns: 1)))
    let (window, tokens) = (20, 120)
    let report = try model.prefill(
      TemporaryCheckpoint.ids(tokens), cache: try model.makeCache(capacity: tokens),
      options: PrefillOptions(
        planner: planner(.aShape(sink: 0, local: window)), rowBlock: 64, measureRecall: true)
    ).report
    let recall = try #require(report.recall)
    // Rows 20 ..< 120 lie beyond the window; the last 64 are among them.
    let expected = (window..<tokens).map { Double(window) / Double($0 + 1) }
    let mean = expected.reduce(0, +) / Double(expected.count)
    // Row 0.1 * 99 of the ascending ones.
    let ascending = expected.sorted()
    let tenth = 0.1 * ascending[9] + 0.9 * ascending[10]
    let heads = try #require(report.headRecalls).joined().compactMap { $0 }
    #expect(heads.count == Self.layers * Self.heads)
    for head in heads {
      #expect(head.rows == 100)
      #expect(abs(head.mean - mean) < 1e-5 && abs(head.tenthPercentile - tenth) < 1e-5)
    }
    #expect(abs(recall.mean - mean) < 1e-5 && abs(recall.worst.mean - mean) < 1e-5)
  }

  @Test func `recall is one for dense heads, and measuring it changes no logits`() throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load()
    let ids = TemporaryCheckpoint.ids(200)
    func run(_ measureRecall: Bool) throws -> PrefillResult {
      try model.prefill(
        ids, cache: try model.makeCache(capacity: 200),
        options: PrefillOptions(planner: mixed, measureRecall: measureRecall))
    }
    let (measured, plain) = (try run(true), try run(false))
    #expect(measured.logits == plain.logits)
    let recall = try #require(measured.report.recall)
    let heads = try #require(measured.report.headRecalls)
    for (layer, head) in [(0, 0), (0, 3), (1, 2)] {
      #expect(abs(try #require(heads[layer][head]).mean - 1) < 1e-5)
    }
    #expect(try #require(heads[2][2]).mean < 0.9)
    #expect(recall.worst.mean < recall.mean && recall.mean < 1)
    #expect(plain.report.recall == nil)
  }

  @Test func `heads that are dense against their pattern are reported with the reason`() throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load()
    let report = try model.prefill(
      TemporaryCheckpoint.ids(200), cache: try model.makeCache(capacity: 200),
      options: PrefillOptions(planner: planner(.aShape(sink: 1, local: 8)), chunk: 160)
    ).report
    // The second chunk has 40 rows.
    #expect(report.denseFallbacks.count == Self.layers * Self.heads)
    #expect(report.denseFallbacks.first?.firstPosition == 160)
    #expect(report.denseFallbacks.first?.reason.contains("40 rows") == true)
    #expect(report.indexSeconds > 0)

    let short = try model.prefill(
      TemporaryCheckpoint.ids(200), cache: try model.makeCache(capacity: 200),
      options: PrefillOptions(planner: planner(.aShape(sink: 1, local: 8), exact: false))
    ).report
    #expect(short.density == 1 && short.denseFallbacks.count == Self.layers * Self.heads)
  }

  @Test func `a plan for another shape of model is refused`() throws {
    let model = try checkpoint().load()
    let other = AttentionPlanner(
      configuration: .uniform(.dense, layers: Self.layers + 1, heads: Self.heads))
    #expect(throws: PatternError.self) {
      try model.prefill(
        [1, 2], cache: try model.makeCache(capacity: 2), options: PrefillOptions(planner: other))
    }
  }
}
