import Compute
import Testing

struct IndexPartTests {
  private let tile = TileShape(rows: 8, columns: 4)

  /// One head of bands and columns, one dense, one of the first's row set again, one of blocks' kind.
  private func index() throws -> TileIndex {
    let grid = TileGrid(firstPosition: 16, rows: 45, tile: tile, slidingWindow: nil)
    return try TileIndex(
      firstPosition: 16, rows: 45, tile: tile,
      rowSets: [
        .tiles(TileRuns(offsets: [0..<3, 20..<21], columns: [0, 5, 31, 60], on: grid)), .all,
        .tiles(TileRuns(offsets: [0..<1], columns: [], on: grid)),
      ], rowSetOfHead: [0, 1, 0, 2])
  }

  @Test(arguments: [16..<17, 30..<33, 39..<41, 60..<61, 16..<61])
  func `a part computes the same pairs of its rows`(positions: Range<Int>) throws {
    let index = try index()
    let part = try index.part(positions: positions, heads: [0, 1, 2])
    #expect(part.firstPosition == positions.lowerBound && part.rows == positions.count)
    for head in 0..<3 {
      // Pairs of rows are counted by growing the part one row at a time.
      let before =
        positions.lowerBound == 16
        ? 0
        : try index.part(positions: 16..<positions.lowerBound, heads: [head])
          .computedPairs(ofHead: head)
      let through = try index.part(positions: 16..<positions.upperBound, heads: [head])
        .computedPairs(ofHead: head)
      #expect(part.computedPairs(ofHead: head) == through - before)
    }
    let whole = try index.part(positions: 16..<61, heads: [0, 1, 2, 3])
    for head in 0..<4 {
      #expect(whole.computedPairs(ofHead: head) == index.computedPairs(ofHead: head))
    }
  }

  @Test func `heads that are not wanted keep their diagonal tiles alone`() throws {
    let part = try index().part(positions: 37..<38, heads: [2])
    // Row 37 lies in the tile of positions 32 ... 39; its diagonal tiles begin at key 32.
    for head in [0, 1, 3] { #expect(part.computedPairs(ofHead: head) == 6) }
    #expect(part.computedPairs(ofHead: 2) > 6)
  }

  @Test func `replacing heads makes them dense and leaves the others as they are`() throws {
    let index = try index()
    let replaced = index.replacingByAll(heads: [2, 3])
    #expect(replaced.rowSet(ofHead: 0) == index.rowSet(ofHead: 0))
    for head in 1..<4 { #expect(replaced.rowSet(ofHead: head) == .all) }
    // Row sets that no head uses are gone.
    #expect(replaced.rowSets.count == 2)
  }

  @Test(arguments: [0..<4, 4..<32, 20..<61, 60..<61, 0..<61])
  func `the row sets of a part are cut to the pairs whose keys are in its range`(
    keys: Range<Int>
  ) throws {
    let index = try index()
    let part = try SparseIndex.tiles(index).restricted(toKeys: keys)
    let cut = try part.hostTiles("a test")
    #expect(part.isPart && cut.isPart && part.keyRange == keys && !part.isDense)
    #expect(part.keys == index.keys && part.rows == index.rows && part.tile == index.tile)
    for head in 0..<4 {
      for query in 16..<61 {
        for key in 0..<61 {
          let expected =
            keys.contains(key) && index.computes(query: query, key: key, head: head)
          #expect(cut.computes(query: query, key: key, head: head) == expected)
        }
      }
    }
  }

  @Test func `parts that do not lie at tiles are refused`() throws {
    let index = try index()
    for keys in [2..<32, 4..<31, 4..<62, 8..<8] {
      #expect(throws: ComputeError.self) { try index.restricted(toKeys: keys) }
      #expect(throws: ComputeError.self) { try SparseIndex.tiles(index).restricted(toKeys: keys) }
    }
    let part = try SparseIndex.tiles(index).restricted(toKeys: 4..<32)
    #expect(throws: ComputeError.self) { try part.restricted(toKeys: 4..<8) }
    #expect(throws: ComputeError.self) { try part.computedPairs() }
  }

  @Test func `rows outside the index are refused`() throws {
    let index = try index()
    for positions in [15..<17, 60..<62, 20..<20] {
      #expect(throws: ComputeError.self) { try index.part(positions: positions, heads: [0]) }
    }
  }

  @Test(arguments: [TileShape(rows: 8, columns: 4), TileShape(rows: 4, columns: 2)])
  func `an index on finer tiles computes the same pairs, and so does a part of it`(
    fine: TileShape
  ) throws {
    let index = try index()
    let part = try index.restricted(toKeys: 4..<32)
    let fineOfPart = try SparseIndex.tiles(index).restricted(toKeys: 4..<32).onTiles(fine)
    for (original, other) in [
      (index, try index.onTiles(fine)), (part, try part.onTiles(fine)),
      (part, try fineOfPart.hostTiles("a test")),
    ] {
      #expect(other.tile == fine && other.isPart == original.isPart)
      for head in 0..<4 {
        for query in 16..<61 {
          for key in 0..<61 {
            #expect(
              other.computes(query: query, key: key, head: head)
                == original.computes(query: query, key: key, head: head))
          }
        }
      }
    }
    #expect(throws: ComputeError.self) { try index.onTiles(TileShape(rows: 16, columns: 4)) }
  }

  @Test func `an index that a device keeps is read by that device alone`() throws {
    let tiles = try index()
    let kept = SparseIndex.resident(KeptIndex(grid: tiles.grid(), dense: []))
    #expect(kept.firstPosition == 16 && kept.rows == 45 && kept.keys == 61 && kept.tile == tile)
    #expect(!kept.isDense && !kept.isPart)
    #expect(throws: ComputeError.self) { try kept.hostTiles("a test") }
    let part = try kept.restricted(toKeys: 4..<32)
    #expect(part.resident === kept.resident && part.isPart && part.keyRange == 4..<32)
    #expect(throws: ComputeError.self) { try part.hostTiles("a test") }
    #expect(throws: ComputeError.self) { try part.computedPairs() }
    #expect(throws: ComputeError.self) { try kept.onTiles(TileShape(rows: 4, columns: 2)) }
    #expect(try kept.onTiles(tile).resident === kept.resident)
    // The device's kernel picks the rows itself, but only such as there are.
    #expect(try kept.part(positions: 20..<30, heads: [1]).resident === kept.resident)
    #expect(throws: ComputeError.self) { try kept.part(positions: 60..<62, heads: [1]) }
    #expect(try kept.denseHeads() == [false, false])
    #expect(try kept.replacingByAll(heads: [1]).denseHeads() == [false, true])
    #expect(try kept.computedPairs() == [7, 7])
  }

  @Test func `a backend on the host refuses an index that a device keeps`() throws {
    let backend = ReferenceBackend()
    let index = SparseIndex.resident(
      KeptIndex(
        grid: TileGrid(firstPosition: 0, rows: 2, tile: backend.tileShape(headDim: 1)), dense: []))
    let tensor = try backend.makeTensor(.float32, [2, 2, 1], purpose: "a test")
    let keys = try backend.makeTensor(.float32, [2, 2, 1], purpose: "a test")
    #expect(throws: ComputeError.self) {
      try backend.attention(
        q: tensor, firstPosition: 0, layer: KeyValueLayer(keys: keys, values: keys, count: 2),
        shape: AttentionShape(queryHeads: 2, keyValueHeads: 2, headDim: 1), index: index,
        into: tensor, logSumExp: nil)
    }
  }
}

/// Two heads of seven pairs each, as a device would count them.
private final class KeptIndex: ResidentIndex, ResidentIndexCounts {
  let grid: TileGrid
  let dense: Set<Int>
  var counts: any ResidentIndexCounts { self }

  init(grid: TileGrid, dense: Set<Int>) {
    self.grid = grid
    self.dense = dense
  }

  func computedPairs() throws -> [Int] { [7, 7] }
  func isDense() throws -> [Bool] { (0..<2).map(dense.contains) }
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex {
    KeptIndex(grid: grid, dense: dense.union(heads))
  }
}
