import TextReports
import MInference

/// The cases of each part, with their indices made.
extension AttentionBenchmark {
  func cases(of part: Part, _ problem: AttentionProblem) throws -> [AttentionCase] {
    switch part {
    case .product: [try problem.product()]
    case .dense:
      [
        try attention(
          "dense", "causal", problem,
          by: .dense(
            firstPosition: 0, rows: tokens, heads: shape.queryHeads, tile: problem.grid.tile))
      ]
    case .tiles: try tiles(problem)
    case .mixed:
      try densities.map { density in
        try attention(
          "slashes and columns", Quantity.percent(density), problem,
          by: problem.index(rowSetOfHead: Array(0..<shape.queryHeads)) { head in
            .tiles(MixedBands(density: density, on: problem.grid).draw(seed: UInt64(head) + 77))
          })
      }
    case .slashes: try settings.flatMap { try slashes($0, problem) }
    case .index: try indexing(problem)
    case .decode: try problem.decoding()
    }
  }

  private func attention(
    _ name: String, _ detail: String, _ problem: AttentionProblem, by index: SparseIndex,
    publishedPairs: Int? = nil
  ) throws -> AttentionCase {
    let pairs = try index.computedPairs(slidingWindow: shape.slidingWindow).reduce(0, +)
    return AttentionCase(
      name: name, detail: detail, isAttention: true, pairs: pairs, publishedPairs: publishedPairs,
      operations: 4 * Double(shape.headDim) * Double(pairs),
      work: { try problem.attend(index) })
  }

  private func tiles(_ problem: AttentionProblem) throws -> [AttentionCase] {
    try densities.flatMap { density in
      // What a GPU's thread block takes is not what a processor's thread does.
      let tiles = RandomTiles(
        problem.backend is any IndexUploading ? .pairs : .rows, density: density, on: problem.grid)
      return try sharings.map { sharing in
        let sets = (0..<shape.queryHeads).map { sharing == .group ? $0 / shape.groupSize : $0 }
        let index = try problem.index(rowSetOfHead: sets) {
          .tiles(tiles.draw(seed: UInt64($0) + 7))
        }
        return try attention(
          "tiles", "\(Quantity.percent(density)), one draw a \(sharing.rawValue)", problem,
          by: index)
      }
    }
  }

  private func slashes(
    _ setting: SyntheticAttention.Setting, _ problem: AttentionProblem
  ) throws -> [AttentionCase] {
    try budgets.map { budget in
      let bands = (0..<shape.keyValueHeads).map {
        SyntheticSelection.bands(setting, keys: tokens, budget: budget, seed: UInt64($0) + 11)
      }
      let pairs = bands.reduce(0) { $0 + PublishedBlockRules.pairs($1, keys: tokens) }
      return try attention(
        "vertical-slash", "(\(budget.columns), \(budget.offsets)) \(setting.rawValue)", problem,
        by: problem.index(of: bands, exact: exact), publishedPairs: pairs * shape.groupSize)
    }
  }

  private func indexing(_ problem: AttentionProblem) throws -> [AttentionCase] {
    guard problem.backend.capabilities.buildsIndices else {
      return [
        AttentionCase(
          name: "estimation of all heads", detail: "\(problem.lastRows.rows) last rows",
          work: problem.estimate)
      ]
    }
    return budgets.map { budget in
      AttentionCase(
        name: "estimation, selection, plan", detail: "(\(budget.columns), \(budget.offsets))",
        work: { try problem.estimateAndPlan(budget, exact: exact) })
    }
  }
}

/// Half of the pairs in runs of 64 offsets at random distances, a third in single columns, and a
/// local band: what vertical-slash selections look like at a given density.
struct MixedBands {
  let density: Double
  let grid: TileGrid

  init(density: Double, on grid: TileGrid) {
    self.density = density
    self.grid = grid
  }

  func draw(seed: UInt64) -> TileRuns {
    let (tile, keys) = (grid.tile, grid.keys)
    var random = SeededGenerator(seed: seed)
    let distances = (keys + tile.columns - 1) / tile.columns
    // A run of 64 offsets covers 64 + rows keys of each tile row; averaged over the triangle a
    // run at a random distance is inside for half of the rows.
    let width = (64 + tile.rows) / tile.columns
    let runs = Int(density * 0.6 * Double(distances) / Double(width))
    var kept = [Bool](repeating: false, count: distances + 1)
    for _ in 0..<runs {
      let first = Int.random(in: 0..<max(1, distances - width), using: &random)
      for distance in first..<min(first + width, distances) { kept[distance] = true }
    }
    for distance in 0..<min(8, distances) { kept[distance] = true }
    let columns = (0..<keys).filter { _ in
      Double.random(in: 0..<1, using: &random) < density * 0.35
    }
    var offsets: [Int32] = [0]
    var tiles: [KeyTileRun] = []
    for tileRow in grid.tileRows {
      let diagonal = tileRow * grid.tilesAcrossDiagonal
      let start = tiles.count
      for keyTile in 0..<grid.visibleTiles(ofTileRow: tileRow).upperBound
      where keyTile >= diagonal || keyTile == 0 || kept[diagonal - keyTile] {
        if tiles.count > start, Int(tiles[tiles.count - 1].end) == keyTile {
          tiles[tiles.count - 1].end += 1
        } else {
          tiles.append(KeyTileRun(start: Int32(keyTile), end: Int32(keyTile) + 1))
        }
      }
      offsets.append(Int32(tiles.count))
    }
    return TileRuns(rowOffsets: offsets, runs: tiles, columns: columns.map(Int32.init))
  }
}
