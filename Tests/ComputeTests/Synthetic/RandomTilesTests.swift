import Compute
import Testing

/// Tiles drawn at random for benchmarks.
@Suite struct RandomTilesTests {
  private static func grid(_ keys: Int, _ tile: TileShape) -> TileGrid {
    TileGrid(firstPosition: 0, rows: keys, tile: tile)
  }

  private static let tiles = [
    TileShape(rows: 64, columns: 64), TileShape(rows: 32, columns: 16),
    TileShape(rows: 256, columns: 64),
  ]

  @Test(arguments: [0.025, 0.05, 0.1, 0.2, 0.7], [RandomTiles.Form.pairs, .rows])
  func `a draw has the density that was asked for, and is an index`(
    density: Double, form: RandomTiles.Form
  ) throws {
    // Long enough that sink and window take less than the least density.
    let keys = 65_536 + 77
    for tile in Self.tiles {
      let grid = Self.grid(keys, tile)
      let drawn = RandomTiles(form, density: density, on: grid).draw(seed: 3)
      _ = try TileIndex(
        firstPosition: 0, rows: keys, tile: tile, rowSets: [.tiles(drawn)], rowSetOfHead: [0])
      let actual = Double(grid.pairs(of: drawn).total) / Double(grid.causalPairs)
      #expect(abs(actual - density) < 0.02 * density, "\(tile): \(actual)")
    }
  }

  @Test func `tile rows of a part compute the same tiles, with sink and window`() {
    let grid = Self.grid(8192, TileShape(rows: 64, columns: 64))
    let drawn = RandomTiles(.pairs, density: 0.3, on: grid).draw(seed: 1)
    for row in stride(from: 0, to: grid.tileRows.count, by: 2) {
      var halves = (0..<2).map { half in
        Set(drawn.runs(ofRow: row + half).flatMap { $0.start..<$0.end })
      }
      for tile in 0..<Int32(min(2, row + 1)) { #expect(halves[0].contains(tile)) }
      // The nearest 512 keys of the part's first position, and its own tiles.
      for tile in max(0, (row * 64 - 511) / 64)...row { #expect(halves[0].contains(Int32(tile))) }
      #expect(halves[1].remove(Int32(row + 1)) != nil)
      #expect(halves[0] == halves[1])
    }
  }

  @Test func `draws differ by seed, and the ends of the scale are everything and the least`() {
    let grid = Self.grid(16384, TileShape(rows: 64, columns: 64))
    let tiles = RandomTiles(.pairs, density: 0.1, on: grid)
    #expect(tiles.draw(seed: 1) == tiles.draw(seed: 1))
    #expect(tiles.draw(seed: 1) != tiles.draw(seed: 2))
    #expect(grid.isDense(RandomTiles(.pairs, density: 1, on: grid).draw(seed: 1)))
    let least = RandomTiles(.pairs, density: 0, on: grid).draw(seed: 1)
    #expect(least.runs.count <= 2 * grid.tileRows.count)
  }
}
