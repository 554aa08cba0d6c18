import Compute
import ComputeCUDA
import Testing

/// Host indices in the form that the attention kernel reads.
@Suite struct PairStepsTests {
  @Test func `entries of a pair name every tile of both halves once, the nearest first`() throws {
    let tile = TileShape(rows: 64, columns: 64)
    for (first, rows) in [(0, 1), (0, 64), (0, 65), (0, 500), (64, 300), (70, 333), (130, 62)] {
      let grid = TileGrid(firstPosition: first, rows: rows, tile: tile)
      let tiles = TileRuns(offsets: [0..<1, 130..<140, 200..<290], columns: [3], on: grid)
      let index = try TileIndex(
        firstPosition: first, rows: rows, tile: tile, rowSets: [.tiles(tiles)], rowSetOfHead: [0])
      let (steps, offsets) = PairSteps.steps(of: tiles, on: index)
      let pairs = first / 128...(first + rows - 1) / 128
      #expect(offsets.count == pairs.count + 1 && Int(offsets.last ?? -1) == steps.count)
      for (number, pair) in pairs.enumerated() {
        let entries = steps[Int(offsets[number])..<Int(offsets[number + 1])]
        #expect(Array(entries.map { $0 / 4 }) == Set(entries.map { $0 / 4 }).sorted(by: >))
        for half in 0..<2 {
          let row = 2 * pair + half
          var expected: [Int32] = []
          if index.tileRows.contains(row) {
            expected = tiles.runs(ofRow: row - index.tileRows.lowerBound).flatMap {
              Array($0.start..<$0.end)
            }
          }
          let named = entries.filter { $0 >> Int32(half) & 1 == 1 }.map { $0 / 4 }
          #expect(named.sorted() == expected)
        }
      }
    }
  }
}
