import Compute
import SparseAttention
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Vertical-slash by a cumulative share and FlexPrefill, against the papers' algorithms over explicit rows.
struct CoveringShareTests {
  private let tokens = 600

  private func layer(_ seed: Int) throws -> RandomLayer {
    try RandomLayer(
      tokens: tokens, heads: 2, groupSize: 2, headDim: 8, tile: TileShape(rows: 64, columns: 64),
      seed: seed)
  }

  /// The largest until their sum is `share` of all, forced ones before, at least `least`.
  private func covering(_ scores: [Double], share: Double, forced: Int, least: Int) -> Int {
    let ranked =
      scores.prefix(forced) + scores.dropFirst(forced).sorted(by: >)
    var held = 0.0
    var count = 0
    let enough = share * scores.reduce(0, +)
    for score in ranked where count < forced || held < enough - 1e-6 {
      held += score
      count += 1
    }
    return max(count, least)
  }

  @Test(arguments: 0..<30)
  func `as many of the largest are counted as hold the share`(seed: Int) {
    var random = SeededGenerator(seed: seed)
    let count = Int.random(in: 1..<400, using: &random)
    // Multiples of 2^-10 with many zeros and ties; 64 rows.
    let scores = (0..<count).map { _ in
      Bool.random(using: &random) ? 0 : Float(Int.random(in: 0..<99, using: &random)) / 1024
    }
    for share: Float in [0, 0.25, 0.5, 0.875, 1] {
      for forced in [0, 3, 500] {
        var held = 0.0
        var expected = 0
        let ranked = scores.prefix(forced) + scores.dropFirst(forced).sorted(by: >)
        let enough = Double(share) * scores.reduce(0.0) { $0 + Double($1) }
        for score in ranked where expected < min(forced, count) || held < enough {
          held += Double(score)
          expected += 1
        }
        let made = LargestScores.count(of: scores, holding: share, of: 64, forced: forced)
        #expect(made == expected, "\(share) of \(count), \(forced) forced")
      }
    }
  }

  @Test func `sums that are no numbers count as nothing`() {
    #expect(LargestScores.count(of: [.nan, 1, -1, 3], holding: 0.7, of: 4) == 1)
    #expect(LargestScores.count(of: [.nan, .nan], holding: 0.7, of: 4) == 0)
    #expect(LargestScores.count(of: [], holding: 0.7, of: 4) == 0)
  }

  @Test(arguments: [0..<600, 250..<600, 560..<600])
  func `columns and offsets hold the share of the last rows' mass`(rows: Range<Int>) throws {
    let layer = try layer(3)
    for (share, vertical, slash) in [(0.5, 30, 100), (0.8, 200, 150)] {
      let planner = AttentionPlanner(
        configuration: .uniform(
          HeadPattern(
            VerticalSlashShare(share: Float(share), vertical: vertical, slash: slash)), layers: 1,
          heads: 2), exact: true)
      let selections = try planner.select(layer: 0, layer.inputs(rows)).selections
      for (head, selection) in selections.enumerated() {
        let scores = layer.naive.scores(
          head: head, end: rows.upperBound, first: rows.lowerBound)
        guard rows.count >= 64, case .bands(let bands) = selection.pairs else {
          #expect(rows.count < 64 && selection.denseReason == .fewRows(rows.count))
          continue
        }
        let columns = covering(scores.vertical, share: share, forced: 30, least: vertical)
        let offsets = covering(scores.slash, share: share, forced: 100, least: slash)
        // A sum that ends on the share may round either way.
        #expect(abs(bands.columns.count - columns) <= 1)
        #expect(abs(bands.slashOffsets.count - offsets) <= 1)
        #expect(
          isTopSelection(
            bands.columns, of: scores.vertical, count: bands.columns.count, forced: 30))
        #expect(
          isTopSelection(
            bands.slashOffsets, of: scores.slash, count: bands.slashOffsets.count, forced: 100))
        #expect(columns < 600 && offsets < 600)
      }
    }
  }

  // MARK: FlexPrefill

  private func flexPrefill(
    _ selector: FlexPrefill, _ layer: RandomLayer, rows: Range<Int>
  ) throws -> [PairSelection] {
    let planner = AttentionPlanner(
      configuration: .uniform(HeadPattern(selector), layers: 1, heads: 2), exact: true)
    var inputs = try layer.inputs(rows)
    var sketch = try #require(
      try QuerySketch(
        planner, layer: 0, backend: layer.backend, shape: layer.shape,
        firstPosition: rows.lowerBound, rows: rows.count, needsHostIndex: false))
    var keys = layer.layer
    keys.count = rows.upperBound
    try sketch.add(layer.queries(rows), firstPosition: rows.lowerBound, layer: keys)
    inputs.estimates = sketch.estimates
    return try planner.select(layer: 0, inputs).selections.map(\.pairs)
  }

  /// The softmax of products of means of the query block `block` with the key blocks up to it.
  private func estimate(
    _ layer: RandomLayer, head: Int, block: Int, rows: Range<Int>
  ) -> [Double] {
    func mean(_ x: [[Double]], _ positions: Range<Int>) -> [Double] {
      (0..<8).map { d in positions.reduce(0) { $0 + x[$1][d] } / Double(positions.count) }
    }
    let q = mean(layer.naive.queries[head], (block * 128..<block * 128 + 128).clamped(to: rows))
    let weights = (0...block).map { other in
      let k = mean(layer.naive.keys[0], other * 128..<min(other * 128 + 128, rows.upperBound))
      return exp(zip(q, k).reduce(0) { $0 + $1.0 * $1.1 } * layer.naive.scale)
    }
    let total = weights.reduce(0, +)
    return weights.map { $0 / total }
  }

  private func distance(_ layer: RandomLayer, head: Int, rows: Range<Int>) -> Double {
    let last = (rows.upperBound - 1) / 128
    let q = estimate(layer, head: head, block: last, rows: rows)
    let scores = layer.naive.scores(head: head, end: rows.upperBound, first: rows.lowerBound)
    var p = [Double](repeating: 0, count: last + 1)
    for (key, mass) in scores.vertical.enumerated() { p[key / 128] += mass / 64 }
    func entropy(_ x: [Double]) -> Double { -x.reduce(0) { $1 > 0 ? $0 + $1 * log($1) : $0 } }
    // The divergence by its other definition: the entropy of the mean less the mean of entropies.
    return (entropy(zip(p, q).map { ($0 + $1) / 2 }) - (entropy(p) + entropy(q)) / 2).squareRoot()
  }

  @Test(arguments: [0..<600, 250..<600], [4, 5])
  func `the distance of the two estimates decides the shape of each head`(
    rows: Range<Int>, seed: Int
  ) throws {
    let layer = try layer(seed)
    let distances = (0..<2).map { distance(layer, head: $0, rows: rows) }
    for (tau, least) in [
      (0, 1), (distances[0] - 1e-3, 2), (distances[0] + 1e-3, 1), (1, 1), (1, 2),
    ] {
      let selector = FlexPrefill(
        share: 0.4, tau: Float(max(0, tau)), leastKeys: 128 * least - least + 1)
      for (head, selection) in try flexPrefill(selector, layer, rows: rows).enumerated() {
        switch selection {
        case .all: Issue.record("dense")
        case .bands(let bands):
          #expect(distances[head] >= tau - 1e-6)
          let scores = layer.naive.scores(
            head: head, end: rows.upperBound, first: rows.lowerBound)
          let leastKeys = selector.leastKeys
          let columns = covering(scores.vertical, share: 0.4, forced: 30, least: leastKeys)
          #expect(abs(bands.columns.count - columns) <= 1)
          #expect(bands.slashOffsets.count >= leastKeys)
        case .blocks(let chosen):
          #expect(distances[head] < tau + 1e-6)
          #expect(chosen.columns.isEmpty)
          try check(chosen.blocks, layer, head: head, rows: rows, share: 0.4, least: least)
        }
      }
    }
    #expect(distances.allSatisfy { $0 > 0.001 && $0 < 0.8 })
  }

  /// Each row's blocks are its largest until they hold the share, at least so many, its first and its own.
  private func check(
    _ blocks: SelectedBlocks, _ layer: RandomLayer, head: Int, rows: Range<Int>, share: Double,
    least: Int
  ) throws {
    let first = rows.lowerBound / 128
    let last = (rows.upperBound - 1) / 128
    var all = 0
    for block in first...last {
      let values = estimate(layer, head: head, block: block, rows: rows)
      var held = 0.0
      var taken: [Int] = []
      for other in values.indices.sorted(by: { values[$0] > values[$1] })
      where held < share - 1e-6 || taken.count < least {
        held += values[other]
        taken.append(other)
      }
      let made = Set(blocks.keyBlocks(ofQueryBlock: block - first).map(Int.init))
      let cut = taken.last.map { values[$0] } ?? 1
      for other in made.symmetricDifference(Set(taken + [0, block])) {
        #expect(abs(values[other] - cut) < 1e-6, "block \(other) of \(block)")
      }
      all += values.count
    }
    #expect(blocks.keyBlocks.count < all)
  }

  @Test
  func `a device is asked for FlexPrefill's blocks and their alternative, or for everything`() {
    let selector = FlexPrefill(share: 0.75, tau: 0.25, leastKeys: 1000)
    #expect(
      selector.deviceRequest(keys: 5000)
        == .chosenBlocks(
          .means(size: 128), ShareRule(share: 0.75, least: 8),
          alternative: BandAlternative(
            distance: 0.25, columns: .share(0.75, least: 1000), offsets: .share(0.75, least: 1000)))
    )
    // No fewer columns and offsets than vertical-slash takes.
    guard
      case .chosenBlocks(_, let rule, 0, nil, let bands?) = FlexPrefill(leastKeys: 1)
        .deviceRequest(keys: 5000)
    else {
      Issue.record("no blocks with an alternative")
      return
    }
    #expect(rule.least == 1 && bands.columns == .share(0.9, least: 30))
    #expect(bands.offsets == .share(0.9, least: 50))
    #expect(selector.deviceRequest(keys: 1000) == .dense(.budgetTakesEverything))
    #expect(FlexPrefill(values: FlexPrefill.budgets.map(\.standard)).values == [0.9, 0.1, 1024])
    let share = VerticalSlashShare(share: 0.9)
    #expect(VerticalSlashShare(values: share.values) == share)
    #expect(
      share.deviceRequest(keys: 5000)
        == .estimated(
          .scored(
            .lastRows,
            .bandsAndColumns(
              offsets: .share(0.9, least: 100), columns: .share(0.9, least: 30)))))
    #expect(
      VerticalSlashShare(share: 1).deviceRequest(keys: 5000) == .dense(.budgetTakesEverything))
  }
}
