import Compute
import SparseAttention
import Testing

/// Under `exact`, selections equal the paper's rules as `NaivePaper` writes them, and the index
/// computes at least their mask.
@Suite struct ExactSelectionTests {
  static let layers: [(tokens: Int, heads: Int, group: Int, dim: Int, tile: TileShape)] = [
    (400, 4, 2, 16, TileShape(rows: 64, columns: 16)),
    (333, 3, 3, 8, TileShape(rows: 16, columns: 8)),
    (257, 2, 1, 12, TileShape(rows: 128, columns: 128)),
    (540, 6, 3, 4, TileShape(rows: 32, columns: 16)),
  ]

  static func layer(_ i: Int) throws -> RandomLayer {
    let spec = layers[i]
    return try RandomLayer(
      tokens: spec.tokens, heads: spec.heads, groupSize: spec.group, headDim: spec.dim,
      tile: spec.tile, seed: i)
  }

  /// The whole prompt; a later chunk; a chunk that begins inside a tile and a block.
  static func chunks(tokens: Int) -> [Range<Int>] {
    [0..<tokens, 128..<tokens, 37..<tokens - 5]
  }

  private func planner(_ pattern: HeadPattern, _ layer: RandomLayer) -> AttentionPlanner {
    AttentionPlanner(
      configuration: .uniform(pattern, layers: 1, heads: layer.shape.queryHeads), exact: true)
  }

  /// Checks that every head's computed pairs contain the mask.
  private func expectMask(
    _ index: TileIndex, _ rows: Range<Int>, heads: Int,
    _ isAsked: (_ head: Int, _ i: Int, _ j: Int) -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for head in 0..<heads {
      guard case .tiles(let tiles) = index.rowSet(ofHead: head) else { continue }
      var missing = 0
      for (row, tileRow) in index.tileRows.enumerated() {
        let positions = (tileRow * index.tile.rows..<(tileRow + 1) * index.tile.rows).clamped(
          to: rows)
        let runs = tiles.runs(ofRow: row)
        var isComputed = [Bool](repeating: false, count: index.keys + index.tile.columns)
        for run in runs {
          for j in Int(run.start) * index.tile.columns..<Int(run.end) * index.tile.columns {
            isComputed[j] = true
          }
        }
        for column in tiles.columns { isComputed[Int(column)] = true }
        for i in positions {
          for j in 0...i where !isComputed[j] && isAsked(head, i, j) { missing += 1 }
        }
      }
      #expect(missing == 0, "head \(head)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: 0..<4, [(40, 60), (30, 120), (1, 1), (90, 50)])
  func `vertical-slash selects the paper's columns and offsets`(
    i: Int, budgets: (vertical: Int, slash: Int)
  ) throws {
    let layer = try Self.layer(i)
    let planner = planner(
      .verticalSlash(vertical: budgets.vertical, slash: budgets.slash), layer)
    for rows in Self.chunks(tokens: layer.naive.tokens) {
      let inputs = try layer.inputs(rows)
      let index = try planner.makeIndex(layer: 0, inputs).index
      let selections = try planner.select(layer: 0, inputs).selections
      var asked: [(columns: Set<Int32>, offsets: Set<Int32>)] = []
      for (head, selection) in selections.enumerated() {
        guard case .bands(let bands) = selection.pairs else {
          Issue.record("head \(head) is not vertical-slash")
          return
        }
        let scores = layer.naive.scores(head: head, end: rows.upperBound, first: rows.lowerBound)
        let columnsAgree = isTopSelection(
          bands.columns, of: scores.vertical, count: max(budgets.vertical, 30), forced: 30)
        #expect(columnsAgree, "head \(head) of \(rows)")
        let offsetsAgree = isTopSelection(
          bands.slashOffsets, of: scores.slash, count: max(budgets.slash, 50), forced: 100)
        #expect(offsetsAgree, "head \(head) of \(rows)")
        asked.append((Set(bands.columns), Set(bands.slashOffsets)))
      }
      expectMask(index, rows, heads: layer.shape.queryHeads) { head, i, j in
        asked[head].columns.contains(Int32(j)) || asked[head].offsets.contains(Int32(i - j))
      }
    }
  }

  @Test(arguments: 0..<4, [1, 3])
  func `block-sparse selects the paper's blocks, and sink and diagonal beside them`(
    i: Int, topK: Int
  ) throws {
    let layer = try Self.layer(i)
    let planner = planner(.blockSparse(topK: topK), layer)
    for rows in Self.chunks(tokens: layer.naive.tokens) {
      let inputs = try layer.inputs(rows)
      let (selections, _) = try planner.select(layer: 0, inputs)
      for (head, selection) in selections.enumerated() {
        guard case .blocks(let blocks) = selection.pairs else {
          Issue.record("head \(head) is not block-sparse")
          return
        }
        let first = rows.lowerBound / 64
        for block in first...(rows.upperBound - 1) / 64 {
          let chosen = Set(blocks.blocks.keyBlocks(ofQueryBlock: block - first).map(Int.init))
          let ranked = layer.naive.rankedBlocks(
            head: head, block: block, rows: rows, end: rows.upperBound)
          let best = ranked.prefix(topK)
          let cut = best.last?.1 ?? 0
          for (m, score) in best where score > cut + 1e-5 { #expect(chosen.contains(m)) }
          #expect(chosen.contains(0) && chosen.contains(block))
          let others = chosen.subtracting([0, block])
          #expect(others.allSatisfy { m in ranked.contains { $0.0 == m && $0.1 > cut - 1e-5 } })
        }
      }
      let index = try planner.makeIndex(layer: 0, inputs).index
      expectMask(index, rows, heads: layer.shape.queryHeads) { head, i, j in
        selections[head].pairs.contains(query: i, key: j, firstPosition: rows.lowerBound)
      }
    }
  }

  @Test(arguments: 0..<4) func `static patterns contain the mask of their definition`(
    i: Int
  ) throws {
    let layer = try Self.layer(i)
    for rows in Self.chunks(tokens: layer.naive.tokens) {
      let end = rows.upperBound
      let cases: [(HeadPattern, (Int, Int) -> Bool)] = [
        (.aShape(sink: 20, local: 33), { i, j in j < 20 || i - j < 33 }),
        (
          .triShape(sink: 5, local: 64, last: 70),
          { i, j in j < 5 || i - j < 64 || i >= end - 70 }
        ),
        (
          .dilated(sink: 9, window: 100, stride: 3),
          { i, j in j < 9 || (i - j < 100 && (i - j) % 3 == 0) }
        ),
        (
          .strided(sink: 9, local: 40, window: 90, stride: 2),
          { i, j in
            j < 9 || i - j < 40 || (i - j >= 40 && i - j < 130 && (i - j - 40) % 2 == 0)
          }
        ),
      ]
      for (pattern, mask) in cases {
        let planner = planner(pattern, layer)
        let inputs = try layer.inputs(rows)
        expectMask(
          try planner.makeIndex(layer: 0, inputs).index, rows, heads: layer.shape.queryHeads
        ) { _, i, j in mask(i, j) }
        let selection = try planner.select(layer: 0, inputs).selections[0].pairs
        var differences = 0
        for i in stride(from: rows.lowerBound, to: end, by: 13) {
          for j in 0...i
          where selection.contains(query: i, key: j, firstPosition: rows.lowerBound) != mask(i, j) {
            differences += 1
          }
        }
        #expect(differences == 0, "\(pattern) of \(rows)")
      }
    }
  }

  @Test func `a static head keeps the selection of its first chunk`() throws {
    let layer = try Self.layer(3)
    let planner = planner(.staticVerticalSlash(vertical: 40, slash: 60), layer)
    let memory = SelectionMemory()
    let first = try planner.select(layer: 0, layer.inputs(0..<320, memory: memory)).selections
    let later = try planner.select(layer: 0, layer.inputs(320..<540, memory: memory)).selections
    let fresh = try planner.select(layer: 0, layer.inputs(320..<540)).selections
    #expect(first == later)
    #expect(later != fresh)
    guard case .bands(let bands) = first[1].pairs else { return #expect(Bool(false)) }
    // Upstream forces 30 offsets here, not 100.
    let scores = layer.naive.scores(head: 1, end: 320, first: 0)
    #expect(isTopSelection(bands.slashOffsets, of: scores.slash, count: 60, forced: 30))
  }

  @Test func `one token has one pair in every estimator`() {
    let sums = LastRowSums(vertical: [1], slash: [1])
    let bands = VerticalSlash.selection(sums, vertical: 1000, slash: 6096)
    #expect(bands.columns == [0] && bands.slashOffsets == [0])
    let blocks = BlockSparse.selection(
      queries: [1, 2], keys: [3, 4], headDim: 2, firstPosition: 0, topK: 100)
    #expect(blocks.keyBlocks == [0])
    for pattern in [
      AShape.selection(sink: 128, local: 3968, keys: 1),
      TriShape.selection(sink: 128, local: 3968, last: 100, keys: 1),
      Dilated.selection(sink: 1024, window: 8192, stride: 2, keys: 1),
      Strided.selection(sink: 1024, local: 2048, window: 4096, stride: 2, keys: 1),
    ] {
      #expect(pattern.contains(query: 0, key: 0, firstPosition: 0))
    }
  }
}
