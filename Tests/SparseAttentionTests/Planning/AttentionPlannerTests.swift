import Compute
import SparseAttention
import Testing

@Suite struct AttentionPlannerTests {
  private func layer(tokens: Int = 640) throws -> RandomLayer {
    try RandomLayer(
      tokens: tokens, heads: 4, groupSize: 2, headDim: 8, tile: TileShape(rows: 16, columns: 8),
      seed: 5)
  }

  private func planner(
    _ patterns: [HeadPattern], exact: Bool = false, denseBelow: Int = 0
  ) -> AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns]), exact: exact,
      costModel: SparseCostModel(denseBelow: denseBelow))
  }

  @Test func `equal selections share a row set and dense heads are one`() throws {
    let window = HeadPattern.aShape(sink: 4, local: 40)
    let (index, report) = try planner([window, .dense, window, .dense]).makeIndex(
      layer: 0, layer().inputs(0..<640))
    #expect(index.rowSets.count == 2)
    #expect(index.rowSetOfHead == [0, 1, 0, 1])
    #expect(index.rowSet(ofHead: 1) == .all)
    #expect(report.computedPairs == (0..<4).map { index.computedPairs(ofHead: $0) })
    #expect(report.causalPairs == Array(repeating: 640 * 641 / 2, count: 4))
    #expect(report.density < 0.6 && report.density > 0.5)
    #expect(report.fallbacks.isEmpty)
    #expect(report.seconds >= report.estimationSeconds)
  }

  @Test func `chunks of fewer than 64 rows are dense, also under exact`() throws {
    let planner = planner(Array(repeating: .aShape(sink: 1, local: 2), count: 4), exact: true)
    for rows in [0..<1, 0..<63, 500..<563] {
      let (index, report) = try planner.makeIndex(layer: 0, layer().inputs(rows))
      #expect(index.rowSets == [.all])
      #expect(report.denseReasons == Array(repeating: .fewRows(rows.count), count: 4))
      #expect(report.fallbacks.count == 4)
    }
    #expect(try planner.makeIndex(layer: 0, layer().inputs(500..<564)).index.rowSets != [.all])
  }

  @Test func `below the crossover a chunk is dense, but not under exact`() throws {
    let patterns = Array(repeating: HeadPattern.verticalSlash(vertical: 30, slash: 50), count: 4)
    let inputs = try layer().inputs(0..<640)
    let (index, report) = try planner(patterns, denseBelow: 641).makeIndex(layer: 0, inputs)
    #expect(index.rowSets == [.all])
    #expect(report.denseReasons.allSatisfy { $0 == .fewKeys(640, crossover: 641) })
    let above = try planner(patterns, denseBelow: 640).makeIndex(layer: 0, inputs).index
    #expect(above.rowSets.allSatisfy { $0 != .all })
    let exact = try planner(patterns, exact: true, denseBelow: 641).makeIndex(layer: 0, inputs)
    #expect(exact.index.rowSets.allSatisfy { $0 != .all })
  }

  @Test func `a head whose index costs more than dense is dense, but not under exact`() throws {
    // 600 columns, gathered one by one, against 640 keys.
    let columns = HeadPattern.verticalSlash(vertical: 560, slash: 50)
    let patterns: [HeadPattern] = [columns, .aShape(sink: 4, local: 40), .dense, .dense]
    let inputs = try layer().inputs(0..<640)
    let model = SparseCostModel(denseBelow: 0, columnPair: 40)
    let costly = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns]), costModel: model)
    let (index, report) = try costly.makeIndex(layer: 0, inputs)
    #expect(index.rowSet(ofHead: 0) == .all)
    #expect(index.rowSet(ofHead: 1) != .all)
    #expect(report.fallbacks.keys.sorted() == [0] || report.denseReasons[0] == .indexIsDense)
    let exact = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns]), exact: true,
      costModel: SparseCostModel(denseBelow: 0, tilePair: 100, columnPair: 100))
    let (exactIndex, exactReport) = try exact.makeIndex(layer: 0, inputs)
    #expect(exactIndex.rowSet(ofHead: 0) != .all)
    #expect(exactReport.fallbacks.isEmpty)
    let dear = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns]),
      costModel: SparseCostModel(denseBelow: 0, tilePair: 100, columnPair: 100))
    let dearReport = try dear.makeIndex(layer: 0, inputs).report
    guard case .costsMoreThanDense(let ratio) = dearReport.denseReasons[1] else {
      return #expect(Bool(false))
    }
    #expect(ratio > 1)
    #expect(dearReport.computedPairs == dearReport.causalPairs)
  }

  @Test func `more budget than tokens is dense without an estimate`() throws {
    let layer = try layer()
    let patterns: [HeadPattern] = [
      .verticalSlash(vertical: 1000, slash: 6096), .verticalSlash(vertical: 640, slash: 1),
      .blockSparse(topK: 10), .aShape(sink: 1, local: 5000),
    ]
    var inputs = try layer.inputs(0..<640)
    inputs.estimates = nil
    let (index, report) = try planner(patterns, exact: true).makeIndex(layer: 0, inputs)
    #expect(index.rowSets == [.all])
    #expect(report.fallbacks.isEmpty)
    #expect(report.denseReasons[0] == .budgetTakesEverything)
    #expect(report.denseReasons[3] == .indexIsDense)
  }

  @Test func `the index of a chunk depends on nothing after it and on no other layer`() throws {
    let patterns: [HeadPattern] = [
      .verticalSlash(vertical: 40, slash: 60), .blockSparse(topK: 2), .dense,
      .triShape(sink: 4, local: 8, last: 3),
    ]
    let short = try layer(tokens: 400)
    let configuration = PatternConfiguration(patterns: [patterns, patterns])
    let planner = AttentionPlanner(configuration: configuration, exact: true)
    let inputs = try short.inputs(128..<384)
    let first = try planner.makeIndex(layer: 0, inputs).index
    let later = try planner.makeIndex(layer: 0, short.inputs(256..<400)).index
    var longer = inputs
    longer.layer.count = 400
    for again in [inputs, longer] {
      let index = try planner.makeIndex(layer: 1, again).index
      #expect(index.rowSets == first.rowSets && index.rowSetOfHead == first.rowSetOfHead)
    }
    #expect(later.rowSets != first.rowSets)
  }

  @Test func `the model's own window leaves out what it hides`() throws {
    let layer = try layer()
    var inputs = try layer.inputs(0..<640)
    inputs.shape.slidingWindow = 32
    let (index, report) = try planner(
      Array(repeating: .aShape(sink: 4, local: 40), count: 4)
    ).makeIndex(layer: 0, inputs)
    #expect(report.computedPairs[0] == report.causalPairs[0])
    #expect(report.causalPairs[0] == index.causalPairs(slidingWindow: 32))
  }

  @Test func `inputs that do not fit together are an error, not a crash`() throws {
    let layer = try layer()
    let good = try layer.inputs(0..<640)
    let planner = planner([.blockSparse(topK: 1), .dense, .dense, .dense])
    var withoutMeans = good
    withoutMeans.estimates = nil
    var tooLong = good
    tooLong.rows = 641
    var otherRows = good
    otherRows.lastRows = try layer.queries(0..<10)
    for bad in [withoutMeans, tooLong, otherRows] {
      #expect(throws: ComputeError.self) { try planner.makeIndex(layer: 0, bad) }
    }
    #expect(throws: ComputeError.self) { try planner.makeIndex(layer: 1, good) }
  }

  @Test func `what a layer needs follows from its patterns`() {
    let planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [
        [.dense, .aShape(sink: 1, local: 1)], [.dense, .verticalSlash(vertical: 1, slash: 1)],
        [.blockSparse(topK: 1), .dense],
      ]))
    #expect((0..<3).map(planner.needsEstimate) == [false, true, false])
    #expect((0..<3).map { planner.needsPooledQueries(layer: $0) } == [false, false, true])
    #expect(!planner.needsAllQueries(layer: 2, firstPosition: 100_000, rows: 63))
    #expect(planner.needsAllQueries(layer: 2, firstPosition: 100_000, rows: 64))
    #expect(planner.sinkAndWindow == 128)
  }

  @Test func `every mode of the command has a pattern and checks its budgets`() throws {
    for mode in AttentionMode.allCases {
      let planner = try mode.planner(layers: 2, heads: 3)
      #expect(planner.configuration.layers == 2 && planner.configuration.heads == 3)
      #expect(
        throws: PatternError.budget(
          name: "sink", value: "0", allowed: "a whole number of at least 1")
      ) {
        try mode.pattern(AttentionBudgets(sink: 0))
      }
    }
    #expect(try AttentionMode.vertical.pattern() == .verticalSlash(vertical: 1000, slash: 1))
    #expect(try AttentionMode.slash.pattern() == .verticalSlash(vertical: 1, slash: 6096))
    #expect(
      try AttentionMode.aShape.pattern(AttentionBudgets(sink: 7, local: 9))
        == .aShape(sink: 7, local: 9))
    #expect(
      AttentionMode.aShape.unusedBudgets(
        AttentionBudgets(sink: 7, slash: 9), hasPatternFile: false) == ["slash"])
  }
}
