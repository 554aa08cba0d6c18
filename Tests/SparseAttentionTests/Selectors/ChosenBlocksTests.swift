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

/// Selectors of key blocks by shares, against the same rules written from the papers' text over explicit rows.
struct ChosenBlocksTests {
  private let tokens = 700

  private func layer(seed: Int) throws -> RandomLayer {
    try RandomLayer(
      tokens: tokens, heads: 2, groupSize: 2, headDim: 8, tile: TileShape(rows: 64, columns: 64),
      seed: seed)
  }

  /// What the host selects for the chunk's heads.
  private func selections(
    _ pattern: HeadPattern, _ layer: RandomLayer, rows: Range<Int>, rowBlock: Int
  ) throws -> [PairSelection] {
    let planner = AttentionPlanner(
      configuration: .uniform(pattern, layers: 1, heads: 2), exact: true)
    var inputs = try layer.inputs(rows)
    var sketch = try #require(
      try QuerySketch(
        planner, layer: 0, backend: layer.backend, shape: layer.shape,
        firstPosition: rows.lowerBound, rows: rows.count, needsHostIndex: false))
    var start = rows.lowerBound
    while start < rows.upperBound {
      let end = min(rows.upperBound, (start / 128 + rowBlock) * 128)
      var keys = layer.layer
      keys.count = end
      try sketch.add(layer.queries(start..<end), firstPosition: start, layer: keys)
      start = end
    }
    inputs.estimates = sketch.estimates
    return try planner.select(layer: 0, inputs).selections.map(\.pairs)
  }

  /// Checks blocks against shares of each query block, up to shares within 1e-6 of one another.
  private func check(
    _ selection: PairSelection, rows: Range<Int>, rule: ShareRule, last: Int, columns: Set<Int>,
    shares: (_ block: Int) -> [Double]?
  ) throws {
    guard case .blocks(let chosen) = selection else {
      Issue.record("no blocks: \(selection)")
      return
    }
    #expect(Set(chosen.columns.map(Int.init)) == columns)
    let first = rows.lowerBound / 128
    for block in first...(rows.upperBound - 1) / 128 {
      let made = Set(chosen.blocks.keyBlocks(ofQueryBlock: block - first).map(Int.init))
      let isDense = last > 0 && block >= max(0, rows.upperBound - last) / 128
      guard !isDense, let shares = shares(block) else {
        #expect(made == Set(0...block))
        continue
      }
      #expect(made.contains(0) && made.contains(block))
      let ranked = shares.enumerated().sorted { ($1.element, $0.offset) < ($0.element, $1.offset) }
      var held = 0.0
      var count = 0
      while count < ranked.count, held < Double(rule.share) - 1e-7 {
        held += ranked[count].element
        count += 1
      }
      func part(_ share: Float) -> Int { Int((share * Float(block + 1)).rounded(.up)) }
      count = min(max(count, part(rule.floor)), part(rule.cap))
      let expected = Set(ranked[..<count].map(\.offset))
      let cut = count > 0 ? ranked[count - 1].element : 1
      for other in made.symmetricDifference(expected.union([0, block])) {
        #expect(abs(shares[other] - cut) < 1e-6, "block \(other) of \(block)")
      }
    }
  }

  private func columns(_ count: Int, _ layer: RandomLayer, head: Int, rows: Range<Int>) -> Set<Int>
  {
    guard count > 0 else { return [] }
    let scores = layer.naive.scores(head: head, end: rows.upperBound, first: rows.lowerBound)
    return naiveTop(scores.vertical, count: count, forced: 30)
  }

  @Test(arguments: [0..<700, 300..<700, 128..<600], [1, 2, 4])
  func `antidiagonals are chosen as XAttention scores them`(
    rows: Range<Int>, queryStride: Int
  ) throws {
    let layer = try layer(seed: queryStride)
    for (stride, rule, columns, last) in [
      (16, ShareRule(share: 0.6), 0, 0), (8, ShareRule(share: 0.5, floor: 0.4, cap: 0.7), 50, 200),
    ] {
      let made = try selections(
        HeadPattern(
          Antidiagonal(
            rule: rule, stride: stride, queryStride: queryStride, columns: columns, last: last)),
        layer, rows: rows, rowBlock: 2)
      for (head, selection) in made.enumerated() {
        try check(
          selection, rows: rows, rule: rule, last: last,
          columns: self.columns(columns, layer, head: head, rows: rows)
        ) { block in
          antidiagonalShares(
            layer, head: head, block: block, rows: rows, stride: stride, queryStride: queryStride)
        }
      }
    }
  }

  /// The mean over the scored groups of a block of the softmax of antidiagonal sums; nil: none is scored.
  private func antidiagonalShares(
    _ layer: RandomLayer, head: Int, block: Int, rows: Range<Int>, stride: Int, queryStride: Int
  ) -> [Double]? {
    var all: [[Double]] = []
    for group in block * 128 / stride..<(block + 1) * 128 / stride {
      let positions = group * stride..<(group + 1) * stride
      guard group % queryStride == queryStride - 1, positions.overlaps(rows) else { continue }
      let scores = (0...group).map { other in
        (0..<stride).reduce(0.0) { sum, i in
          let (query, key) = (positions.upperBound - 1 - i, other * stride + i)
          guard rows.contains(query), key < rows.upperBound else { return sum }
          let (q, k) = (layer.naive.queries[head][query], layer.naive.keys[0][key])
          return sum + zip(q, k).reduce(0) { $0 + $1.0 * $1.1 } * layer.naive.scale / Double(stride)
        }
      }
      let weights = softmax(scores)
      all.append(
        (0...block).map { other in
          weights.indices.filter { $0 * stride / 128 == other }.reduce(0) { $0 + weights[$1] }
        })
    }
    guard !all.isEmpty else { return nil }
    return (0...block).map { other in all.reduce(0) { $0 + $1[other] } / Double(all.count) }
  }

  @Test(arguments: [0..<700, 300..<700, 128..<600], [16, 128])
  func `pooled blocks are chosen by the products of means`(
    rows: Range<Int>, poolSize: Int
  ) throws {
    let layer = try layer(seed: 9)
    for (rule, columns, last) in [
      (ShareRule(share: 0.4), 0, 0), (ShareRule(share: 0.2, floor: 0.4, cap: 0.7), 50, 200),
    ] {
      let made = try selections(
        HeadPattern(PooledBlocks(rule: rule, poolSize: poolSize, columns: columns, last: last)),
        layer, rows: rows, rowBlock: 2)
      for (head, selection) in made.enumerated() {
        try check(
          selection, rows: rows, rule: rule, last: last,
          columns: self.columns(columns, layer, head: head, rows: rows)
        ) { pooledShares(layer, head: head, block: $0, rows: rows, size: poolSize) }
      }
    }
  }

  /// The mean over the groups of a block of the softmax of products of means.
  private func pooledShares(
    _ layer: RandomLayer, head: Int, block: Int, rows: Range<Int>, size: Int
  ) -> [Double] {
    func mean(_ x: [[Double]], _ positions: Range<Int>) -> [Double] {
      (0..<8).map { d in positions.reduce(0) { $0 + x[$1][d] } / Double(positions.count) }
    }
    var shares = [Double](repeating: 0, count: block + 1)
    var groups = 0.0
    for group in block * 128 / size..<(block + 1) * 128 / size {
      let present = (group * size..<(group + 1) * size).clamped(to: rows)
      guard !present.isEmpty else { continue }
      let q = mean(layer.naive.queries[head], present)
      let weights = softmax(
        (0...group).map { other in
          let k = mean(
            layer.naive.keys[0], other * size..<min((other + 1) * size, rows.upperBound))
          return zip(q, k).reduce(0) { $0 + $1.0 * $1.1 } * layer.naive.scale
        })
      for (other, weight) in weights.enumerated() { shares[other * size / 128] += weight }
      groups += 1
    }
    return shares.map { $0 / groups }
  }

  private func softmax(_ scores: [Double]) -> [Double] {
    let weights = scores.map { exp($0 - (scores.max() ?? 0)) }
    let total = weights.reduce(0, +)
    return weights.map { $0 / total }
  }

  @Test func `budgets come from the registry, in files too`() throws {
    for (name, values) in [
      ("antidiagonal", [0.7, 0.05, 0.5, 8, 100, 128, 2]),
      ("pooled-blocks", [0.7, 0.05, 0.5, 16, 100, 128]),
    ] {
      let selector = try #require(Selectors.named(name))
      #expect(selector.init(values: values).values == values)
      #expect(selector.budgets.allSatisfy { !$0.isRequired })
      let standard = selector.budgets.map(\.standard)
      #expect(selector.init(values: standard).values == standard)
    }
    let pattern = try AttentionMode.antidiagonal.pattern(AttentionBudgets(["query-stride": 2]))
    #expect(pattern.budgets.last?.name == "query_stride" && pattern.budgets.last?.text == "2")
    #expect(throws: PatternError.self) {
      try AttentionMode.antidiagonal.pattern(AttentionBudgets(["query-stride": 3]))
    }
    #expect(
      AttentionMode.pooledBlocks.unusedBudgets(
        AttentionBudgets(["stride": 8, "columns": 3]), hasPatternFile: false) == ["stride"])
  }

  @Test func `what takes everything looks at nothing`() {
    for selector in [
      PooledBlocks(rule: ShareRule(share: 1)),
      PooledBlocks(rule: ShareRule(share: 0.5), columns: 600),
      PooledBlocks(rule: ShareRule(share: 0.5), last: 600),
    ] {
      #expect(selector.needs(keys: 600, isKept: false) == .nothing)
      #expect(selector.deviceRequest(keys: 600) == .dense(.budgetTakesEverything))
    }
    let selector = PooledBlocks(rule: ShareRule(share: 0.5), columns: 0, last: 300)
    #expect(
      selector.deviceRequest(keys: 700)
        == .chosenBlocks(.means(size: 128), selector.rule, columns: 0, denseFrom: 384))
    #expect(!selector.needs.lastRows)
  }
}
