import Compute
import PatternSearch
import SparseAttention
import Testing

@Suite struct RowMassTests {
  /// Random scores of a chunk's rows against all of its keys, in units of log 2.
  private struct Problem {
    let grid: TileGrid
    let positions: [Int]
    let scores: [[Float]]
    let mass: RowMass

    init(firstPosition: Int, rows: Int, slidingWindow: Int? = nil, seed: UInt64 = 3) {
      let grid = TileGrid(
        firstPosition: firstPosition, rows: rows, tile: TileShape(rows: 32, columns: 16),
        slidingWindow: slidingWindow)
      let positions = [0, 1, 17, 31, 32, 50, rows - 2, rows - 1].map { firstPosition + $0 }
      var random = TestRandom(seed: seed)
      let scores = positions.map { _ in
        (0..<grid.keys).map { _ in Float.random(in: -9...9, using: &random) }
      }
      self.grid = grid
      self.positions = positions
      self.scores = scores
      mass = RowMass(
        positions: positions, keys: grid.keys, slidingWindow: slidingWindow, rowsAtOnce: 3
      ) { rows in rows.flatMap { scores[$0] } }
    }

    /// Softmax probability of each key, by definition.
    func probabilities(_ row: Int) -> [Double] {
      let position = positions[row]
      let first = grid.slidingWindow.map { max(0, position - $0 + 1) } ?? 0
      let weights = (0..<grid.keys).map { key in
        key <= position && key >= first ? power(Double(scores[row][key])) : 0
      }
      let sum = weights.reduce(0, +)
      return weights.map { $0 / sum }
    }

    private func power(_ x: Double) -> Double {
      // 2^x without a library: the whole part exactly, the rest by its series.
      let whole = x.rounded(.down)
      let f = (x - whole) * 0.693_147_180_559_945_3
      var term = 1.0
      var sum = 1.0
      for n in 1..<20 {
        term *= f / Double(n)
        sum += term
      }
      return whole >= 0 ? sum * Double(1 << Int(whole)) : sum / Double(1 << Int(-whole))
    }

    func index(_ rowSet: RowSet) throws -> TileIndex {
      try TileIndex(
        firstPosition: grid.firstPosition, rows: grid.rows, tile: grid.tile, rowSets: [rowSet],
        rowSetOfHead: [0])
    }
  }

  private static func rowSets(on grid: TileGrid) -> [RowSet] {
    [
      .all, .tiles(TileRuns.diagonal(on: grid)),
      .tiles(TileRuns.sinkAndWindow(sink: 5, window: 40, on: grid)),
      .tiles(
        TileRuns(
          offsets: [0..<1, 70..<72, 150..<151], columns: [0, 3, 31, 64, 65, 130, 190], on: grid)),
      PairSelection.blocks(
        BlockSelection(
          BlockSparse.selection(
            queries: (0..<64).map { Float($0 % 7) }, keys: (0..<96).map { Float($0 % 5) },
            headDim: 16, firstPosition: grid.firstPosition, topK: 1))
      ).rowSet(on: grid),
    ]
  }

  @Test(arguments: [0, 64, 96], [nil, 90])
  func `The mass that a row set keeps is the sum over its computed pairs`(
    firstPosition: Int, slidingWindow: Int?
  ) throws {
    let problem = Problem(
      firstPosition: firstPosition, rows: 130, slidingWindow: slidingWindow)
    let sets = Self.rowSets(on: problem.grid)
    for rowSet in firstPosition == 0 ? sets : Array(sets[..<4]) {
      let index = try problem.index(rowSet)
      let kept = problem.mass.kept(
        rowSet, on: problem.grid, places: 0..<problem.positions.count)
      for (row, position) in problem.positions.enumerated() {
        let probabilities = problem.probabilities(row)
        var expected = 0.0
        for key in 0..<problem.grid.keys {
          let isComputed = index.computes(
            query: position, key: key, head: 0, slidingWindow: slidingWindow)
          expected += isComputed ? probabilities[key] : 0
        }
        #expect(abs(kept[row] - expected) < 3e-6, "row \(position)")
      }
    }
  }

  @Test func `The work of a row set counts the pairs that the index counts`() throws {
    let problem = Problem(firstPosition: 64, rows: 130)
    for rowSet in Self.rowSets(on: problem.grid)[..<4] {
      let work = IndexWork(rowSet, on: problem.grid)
      #expect(work.pairs == (try problem.index(rowSet)).computedPairs(ofHead: 0))
      #expect(work.tileRows == problem.grid.tileRows.count)
    }
  }
}
