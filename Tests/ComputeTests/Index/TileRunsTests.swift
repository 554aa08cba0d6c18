import Compute
import Testing

/// Every builder against the requested mask, pair by pair, on small chunks of all kinds.
@Suite struct TileRunsTests {
  /// Checks validity, coverage, uniqueness and the count of pairs.
  private func check(
    _ tiles: TileRuns, on grid: TileGrid, covers isRequested: (_ i: Int, _ j: Int) -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let index = try TileIndex(
      firstPosition: grid.firstPosition, rows: grid.rows, tile: grid.tile,
      rowSets: [.tiles(tiles)], rowSetOfHead: [0])
    let mask = computedMask(tiles, on: grid)
    var missing = 0
    var repeated = 0
    for (row, counts) in mask.enumerated() {
      let position = grid.firstPosition + row
      for (key, count) in counts.enumerated() {
        if count > 1 { repeated += 1 }
        if count == 0, isVisible(key, from: position, on: grid), isRequested(position, key) {
          missing += 1
        }
      }
    }
    #expect(mask.count == grid.rows, sourceLocation: sourceLocation)
    #expect(missing == 0, "\(grid)", sourceLocation: sourceLocation)
    #expect(repeated == 0, "\(grid)", sourceLocation: sourceLocation)
    #expect(
      index.computedPairs(ofHead: 0, slidingWindow: grid.slidingWindow)
        == mask.joined().reduce(0, +), "\(grid)", sourceLocation: sourceLocation)
  }

  private static let grids: [TileGrid] = tileShapes.flatMap { tile in
    chunks.flatMap { first, rows in
      [nil, 1, 40].map {
        TileGrid(firstPosition: first, rows: rows, tile: tile, slidingWindow: $0)
      }
    }
  }

  @Test(arguments: [0.01, 0.2, 0.9])
  func `scattered offsets and columns are covered`(share: Double) throws {
    var random = SeededGenerator(seed: Int(share * 100))
    for grid in Self.grids {
      let offsets = random.subset(below: grid.keys, share: share)
      let columns = random.subset(below: grid.keys, share: share)
      let limit = Int.random(in: 1...grid.tile.columns, using: &random)
      let tiles = TileRuns(
        offsets: offsets.map { $0..<$0 + 1 }, columns: columns.map(Int32.init),
        columnsThatFillTile: limit, on: grid)
      let wantedOffsets = Set(offsets)
      let wantedColumns = Set(columns)
      try check(tiles, on: grid) { wantedOffsets.contains($0 - $1) || wantedColumns.contains($1) }
    }
  }

  @Test func `ranges of offsets, a sink and dense last rows are covered`() throws {
    for grid in Self.grids {
      for (sink, window, last) in [(0, 1, 0), (30, 17, 5), (3, 64, 1000), (10_000, 0, 0)] {
        let denseFrom = grid.keys - last
        let tiles = TileRuns.sinkAndWindow(
          sink: sink, window: window, denseFrom: denseFrom, on: grid)
        try check(tiles, on: grid) { $1 < sink || $0 - $1 < window || $0 >= denseFrom }
      }
    }
  }

  @Test func `nothing is rounded out further than to tiles that hold a requested pair`() {
    for grid in Self.grids where grid.slidingWindow == nil {
      let tile = grid.tile
      let offsets = [0..<3, 41..<42, 90..<100]
      let tiles = TileRuns(offsets: offsets, columns: [], on: grid)
      for (row, tileRow) in grid.tileRows.enumerated() {
        for run in tiles.runs(ofRow: row) {
          for keyTile in Int(run.start)..<Int(run.end) {
            // Over the whole tile row, also where the chunk holds only a part of it.
            let isWanted = (0..<tile.rows).contains { r in
              (0..<tile.columns).contains { c in
                let offset = tileRow * tile.rows + r - keyTile * tile.columns - c
                return offsets.contains { $0.contains(offset) }
              }
            }
            let isDiagonal = keyTile * tile.columns >= tileRow * tile.rows
            #expect(isWanted || isDiagonal, "\(grid) tile \(keyTile)")
          }
        }
      }
    }
  }

  @Test(arguments: [1, 7, 64])
  func `blocks are covered whether the tile is finer or coarser`(blockSize: Int) throws {
    var random = SeededGenerator(seed: blockSize)
    for grid in Self.grids {
      let firstBlock = grid.firstPosition / blockSize
      let keyBlocks = (grid.keys + blockSize - 1) / blockSize
      var offsets: [Int32] = [0]
      var chosen: [Int32] = []
      for _ in firstBlock..<keyBlocks {
        chosen += random.subset(below: keyBlocks, share: 0.3).map(Int32.init)
        offsets.append(Int32(chosen.count))
      }
      let blocks = SelectedBlocks(
        blockSize: blockSize, blockOffsets: offsets, keyBlocks: chosen)
      try check(TileRuns(blocks: blocks, on: grid), on: grid) { i, j in
        blocks.keyBlocks(ofQueryBlock: i / blockSize - firstBlock)
          .contains(Int32(j / blockSize))
      }
    }
  }

  @Test func `a union computes the pairs of both and no others`() throws {
    var random = SeededGenerator(seed: 11)
    for grid in Self.grids {
      func anySelection() -> TileRuns {
        TileRuns(
          offsets: random.subset(below: grid.keys, share: 0.05).map { $0..<$0 + 1 },
          columns: random.subset(below: grid.keys, share: 0.1).map(Int32.init), on: grid)
      }
      let left = anySelection()
      let right = anySelection()
      let union = left.union(right)
      try check(union, on: grid) { _, _ in false }
      let masks = [left, right, union].map { computedMask($0, on: grid).joined().map { $0 > 0 } }
      #expect(zip(masks[0], masks[1]).map { $0 || $1 } == masks[2], "\(grid)")
    }
  }

  @Test func `columns that fill a tile become a tile and cost no further pair`() {
    let grid = TileGrid(firstPosition: 0, rows: 256, tile: TileShape(rows: 64, columns: 16))
    let columns = (0..<Int32(30)).map { $0 } + [77]
    let filled = TileRuns(offsets: [], columns: columns, on: grid)
    let single = TileRuns(offsets: [], columns: columns, columnsThatFillTile: 17, on: grid)
    #expect(filled.columns == Array(16..<30) + [77])
    #expect(single.columns == columns)
    #expect(grid.pairs(of: filled).total == grid.pairs(of: single).total)
    #expect(grid.pairs(of: filled).columnPairs < grid.pairs(of: single).columnPairs)
  }

  @Test func `a selection of all offsets is recognised as dense`() {
    for grid in Self.grids {
      #expect(grid.isDense(TileRuns(offsets: [0..<grid.keys], columns: [], on: grid)))
      let visible = grid.tileRows.map { grid.visibleTiles(ofTileRow: $0).lowerBound }
      let diagonals = grid.tileRows.map { $0 * grid.tilesAcrossDiagonal }
      #expect(grid.isDense(.diagonal(on: grid)) == (visible == diagonals), "\(grid)")
    }
  }

  @Test func `a long chunk takes no walk over its keys`() {
    // 1M rows, 6,096 offsets in runs: 16,384 tile rows; a walk over all keys would take minutes.
    let grid = TileGrid(firstPosition: 0, rows: 1 << 20, tile: TileShape(rows: 64, columns: 16))
    let offsets = [0..<100] + (1..<95).map { $0 * 9000..<$0 * 9000 + 64 }
    let columns = stride(from: Int32(0), to: 1_000_000, by: 1000).map { $0 }
    let tiles = TileRuns(offsets: offsets, columns: columns, on: grid)
    #expect(tiles.rowOffsets.count == 16_385)
    #expect(grid.pairs(of: tiles).total < grid.causalPairs / 20)
  }
}
