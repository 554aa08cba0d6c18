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
    for original in [index, try index.restricted(toKeys: 4..<32)] {
      let other = try original.onTiles(fine)
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
}
