import Compute
import Pipeline
import SparseAttention
import Synchronization
import TemporaryCheckpoints
import Testing
import Transformers

/// What a pipeline computes, beside one device with the same chunks.
struct LayerPipelineTests {
  /// Ways of spreading layers, and prompts that take different ways through them.
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var stages: [Range<Int>]
    var tokens = 203
    var isSparse = false
    var lastRowOnly = true
    var configuration: [String: String] = [:]
    var experts: TinyCheckpoint.Experts?
    var chunk: Int? = 32
    var chunkEnds: [Int]?

    var testDescription: String { name }
    var layers: Int { stages.last?.upperBound ?? 0 }

    var options: PrefillOptions {
      var options = PrefillOptions(
        planner: isSparse ? Mesh.planner(layers: layers) : nil, chunk: chunk, rowBlock: 32,
        lastLayerLastRowOnly: lastRowOnly)
      options.chunkEnds = chunkEnds
      return options
    }

    static let all = [
      Case(name: "two stages", stages: [0..<2, 2..<4]),
      Case(name: "uneven stages", stages: [0..<1, 1..<4], isSparse: true),
      Case(name: "three stages", stages: [0..<1, 1..<2, 2..<4], isSparse: true),
      Case(name: "eight stages", stages: (0..<8).map { $0..<$0 + 1 }, isSparse: true),
      Case(name: "eight stages, dense", stages: (0..<8).map { $0..<$0 + 1 }, lastRowOnly: false),
      Case(
        name: "three stages, chunks of three tiles", stages: [0..<1, 1..<2, 2..<4],
        isSparse: true, chunk: 96),
      Case(name: "one token", stages: [0..<1, 1..<2, 2..<4], tokens: 1),
      Case(name: "shorter than a tile", stages: [0..<2, 2..<3], tokens: 7, isSparse: true),
      Case(name: "chunks of one tile", stages: [0..<2, 2..<3], tokens: 67, chunk: 1),
      Case(name: "one chunk", stages: [0..<2, 2..<3], isSparse: true, chunk: 1 << 20),
      Case(
        name: "shrinking chunks", stages: [0..<1, 1..<2, 2..<3], isSparse: true, chunk: nil,
        chunkEnds: [96, 160, 192]),
      Case(
        name: "sliding window", stages: [0..<1, 1..<3], isSparse: true,
        configuration: ["model_type": "\"mistral\"", "sliding_window": "50"]),
      Case(
        name: "dual chunk attention", stages: [0..<1, 1..<3], isSparse: true,
        configuration: [
          "dual_chunk_attention_config": #"{"chunk_size": 160, "local_size": 32}"#
        ]),
      Case(
        name: "dual chunk attention, three stages, dense", stages: [0..<1, 1..<2, 2..<3],
        configuration: [
          "dual_chunk_attention_config": #"{"chunk_size": 96, "local_size": 32}"#
        ]),
      Case(
        name: "experts", stages: [0..<1, 1..<2, 2..<4], isSparse: true, experts: .qwen3, chunk: 96),
      Case(
        name: "experts behind an MLP", stages: [0..<1, 1..<3], isSparse: true, lastRowOnly: false,
        experts: .glm4),
      Case(
        name: "experts, dual chunk attention", stages: [0..<2, 2..<3], isSparse: true,
        configuration: [
          "dual_chunk_attention_config": #"{"chunk_size": 160, "local_size": 32}"#
        ], experts: .qwen3),
    ]
  }

  /// Logits behind the prompt and behind tokens that are decoded after it, and what was counted.
  private func outcome(
    _ model: Transformer, _ ids: [Int32], _ options: PrefillOptions
  ) throws -> (logits: [Float], report: PrefillReport) {
    let cache = try model.makeCache(
      capacity: ids.count + 8, chunk: options.chunk, planner: options.planner)
    let result = try model.prefill(ids, cache: cache, options: options)
    var logits = result.logits
    for id: Int32 in [3, 250, 3] { logits += try model.decode(id, cache: cache) }
    #expect(cache.count == ids.count + 3)
    // A second prompt behind the first, as a conversation goes on.
    logits += try model.prefill(Mesh.ids(5), cache: cache, options: options).logits
    return (logits, result.report)
  }

  @Test(
    "a pipeline gives one device's results, bit for bit", arguments: Mesh.Kind.allCases, Case.all)
  func equality(kind: Mesh.Kind, test: Case) throws {
    let mesh = try Mesh(
      layers: test.layers, configuration: test.configuration, experts: test.experts)
    let ids = Mesh.ids(test.tokens)
    let expected = try outcome(mesh.whole(kind), ids, test.options)
    let pipeline = try mesh.pipeline(kind, test.stages)
    let found = try outcome(pipeline.makeTransformer(), ids, test.options)
    #expect(found.logits.map(\.bitPattern) == expected.logits.map(\.bitPattern))
    #expect(found.logits.allSatisfy { $0.isFinite })
    #expect(found.report.computedPairs == expected.report.computedPairs)
    #expect(found.report.causalPairs == expected.report.causalPairs)
    #expect(found.report.chunks == expected.report.chunks)
    #expect(found.report.tokens == test.tokens)
    #expect(Set(found.report.denseFallbacks) == Set(expected.report.denseFallbacks))
  }

  @Test("scores, recall and what a monitor sees are one device's", arguments: Mesh.Kind.allCases)
  func scoring(kind: Mesh.Kind) throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(180)
    var options = Case.all[1].options
    // Chunks of fewer than 64 rows would be dense.
    options.chunk = 96
    options.measureRecall = true
    options.monitor = RecallMonitor(floor: 1)
    func scores(_ model: Transformer) throws -> ([Float], PrefillReport) {
      var all: [Float] = []
      let report = try model.score(ids, options: options) { position, logits in
        #expect(position == all.count / model.vocabularySize)
        all += logits
      }
      return (all, report)
    }
    let (expected, expectedReport) = try scores(mesh.whole(kind))
    let (found, report) = try scores(mesh.pipeline(kind, [0..<1, 1..<2, 2..<4]).makeTransformer())
    #expect(found.map(\.bitPattern) == expected.map(\.bitPattern))
    #expect(report.recall != nil && report.recall == expectedReport.recall)
    #expect(report.headRecalls == expectedReport.headRecalls)
    #expect(expectedReport.monitor?.weakHeads.isEmpty == false)
    #expect(report.monitor?.headRecalls == expectedReport.monitor?.headRecalls)
    #expect(Set(report.monitor?.weakHeads ?? []) == Set(expectedReport.monitor?.weakHeads ?? []))
  }

  @Test("budgets of chunks are proportional in a pipeline, and one device can have them so")
  func budgets() throws {
    let mesh = try Mesh()
    let heads = [HeadPattern.verticalSlash(vertical: 40, slash: 120), .blockSparse(topK: 2)]
    let planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: Array(repeating: heads, count: 4)),
      costModel: SparseCostModel(denseBelow: 0))
    let ids = Mesh.ids(768)
    struct Outcome: Equatable {
      var logits: [Float]
      var density: Double
    }
    func outcome(_ model: Transformer, _ budgets: ChunkBudgets?) throws -> Outcome {
      var options = PrefillOptions(planner: planner, chunk: 192, rowBlock: 64)
      options.chunkBudgets = budgets
      let result = try model.prefill(
        ids, cache: model.makeCache(capacity: ids.count), options: options)
      return Outcome(logits: result.logits, density: result.report.density)
    }
    let model = try mesh.pipeline(.cpu, [0..<1, 1..<4]).makeTransformer()
    let whole = try mesh.whole(.cpu)
    let proportional = try outcome(model, nil)
    #expect(try outcome(whole, .proportional) == proportional)
    #expect(try outcome(whole, nil) == outcome(model, .whole))
    #expect(proportional.density < (try outcome(whole, nil).density))
  }

  @Test("several sequences at once do not disturb each other")
  func sequences() async throws {
    let mesh = try Mesh()
    let model = try mesh.pipeline(.cpu, [0..<1, 1..<3, 3..<4]).makeTransformer()
    let options = Case.all[1].options
    let whole = try mesh.whole(.cpu)
    let expected = try (1..<5).map { try outcome(whole, Mesh.ids(40 * $0), options).logits }
    let found = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
      for number in 1..<5 {
        group.addTask { (number, try self.outcome(model, Mesh.ids(40 * number), options).logits) }
      }
      var found: [Int: [Float]] = [:]
      for try await (number, logits) in group { found[number] = logits }
      return found
    }
    for number in 1..<5 { #expect(found[number] == expected[number - 1]) }
  }

  @Test("a cache that was saved by one device is taken up by several, and the other way round")
  func saving() throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(90)
    let file = mesh.directory.path("cache")
    let whole = try mesh.whole(.cpu)
    let model = try mesh.pipeline(.cpu, [0..<1, 1..<4]).makeTransformer()
    for (saver, reader) in [(whole, model), (model, whole)] {
      let cache = try saver.makeCache(capacity: 100)
      _ = try saver.prefill(ids, cache: cache, options: PrefillOptions(chunk: 32))
      try saver.save(cache, tokens: ids, fingerprint: "0123456789abcdef", to: file)
      let expected = try saver.decode(9, cache: cache)
      let restored = try reader.makeCache(capacity: 100)
      #expect(
        try reader.restore(restored, fingerprint: "0123456789abcdef", from: file) == ids)
      #expect(try reader.decode(9, cache: restored) == expected)
    }
  }

  @Test("progress never goes back, and comes to its end")
  func progress() throws {
    let mesh = try Mesh()
    let model = try mesh.pipeline(.cpu, [0..<1, 1..<2, 2..<4]).makeTransformer()
    let seen = Mutex<[Double]>([])
    var options = Case.all[1].options
    options.progress = { progress in seen.withLock { $0.append(progress.fraction) } }
    let ids = Mesh.ids(203)
    _ = try model.prefill(ids, cache: model.makeCache(capacity: 203), options: options)
    let fractions = seen.withLock { $0 }
    #expect(fractions.count > 20)
    #expect(zip(fractions, fractions.dropFirst()).allSatisfy { $0 <= $1 })
    #expect((fractions.last ?? 0) > 0.9)
  }

  @Test("a trace has every chunk of every stage and the copies between them, in order")
  func trace() throws {
    let mesh = try Mesh()
    let pipeline = try mesh.pipeline(.cpu, [0..<1, 1..<2, 2..<4])
    pipeline.trace.isOn = true
    let model = try pipeline.makeTransformer()
    let ids = Mesh.ids(203)
    _ = try model.prefill(
      ids, cache: model.makeCache(capacity: 203), options: PrefillOptions(chunk: 64))
    let spans = pipeline.trace.spans
    for stage in 0..<3 {
      let chunks = spans.filter { $0.stage == stage && $0.kind == .chunk }
      #expect(chunks.map(\.chunk) == [0, 1, 2, 3])
      #expect(chunks.allSatisfy { $0.seconds > 0 })
      #expect(zip(chunks, chunks.dropFirst()).allSatisfy { $0.start + $0.seconds <= $1.start })
      let copies = spans.filter { $0.stage == stage && $0.kind == .copy }
      #expect(copies.map(\.chunk) == (stage < 2 ? [0, 1, 2, 3] : []))
      #expect(copies.allSatisfy { $0.seconds > 0 })
    }
    for chunk in 0..<4 {
      let starts = (0..<3).map { stage in
        spans.first { $0.stage == stage && $0.kind == .chunk && $0.chunk == chunk }?.start ?? .nan
      }
      #expect(starts[0] < starts[1] && starts[1] < starts[2])
    }
    let text = pipeline.trace.chromeTrace(names: pipeline.stageNames)
    #expect(text.contains("\"traceEvents\""))
    #expect(text.contains("cpu:1, layers 1..<2"))
  }

  @Test("rows of sequences are appended to another one, part by part")
  func copying() throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(90)
    let options = PrefillOptions(chunk: 32)
    for kind in Mesh.Kind.allCases {
      let whole = try mesh.whole(kind)
      let other = try whole.makeCache(capacity: 100)
      _ = try whole.prefill(ids, cache: other, options: options)
      other.truncate(to: 40)
      let expected = try whole.decode(9, cache: other)
      let model = try mesh.pipeline(kind, [0..<1, 1..<2, 2..<4]).makeTransformer()
      let source = try model.makeCache(capacity: 100)
      _ = try model.prefill(ids, cache: source, options: options)
      #expect(model.canCopyRows(of: source))
      let target = try model.makeCache(capacity: 60)
      try model.append([CachedRows(source, rows: 0..<30)], to: target)
      try model.append(
        [CachedRows(source, rows: 30..<33), CachedRows(source, rows: 33..<40)], to: target)
      #expect(target.count == 40 && source.count == 90)
      #expect(try model.decode(9, cache: target) == expected)
      #expect(throws: TransformerError.self) {
        try model.append([CachedRows(source, rows: 0..<30)], to: target)
      }
      #expect(target.count == 41)
    }
  }

  @Test("more stages than layers are refused")
  func refusals() throws {
    let mesh = try Mesh()
    let members = try (0..<5).map {
      LayerPipeline.Member(backend: try Mesh.Kind.reference.make(), name: "\($0)")
    }
    #expect(throws: PipelineError.self) {
      try LayerPipeline(checkpoint: mesh.checkpoint, members: members)
    }
  }
}
