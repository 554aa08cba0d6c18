import Compute
import PatternSearch
import Testing

@Suite struct SinkRowMassTests {
  @Test("A sink takes its part of a row's mass, and counts as kept")
  func countsAsKept() {
    // In units of log 2: masses of 1, 2, 0.5 and 4, and 2 of the sink.
    let mass = RowMass(positions: [3], keys: 4, slidingWindow: nil, sink: 1) { _ in [0, 1, -1, 2] }
    #expect(abs(mass.share(row: 0, keys: 0..<2) - 3 / 9.5) < 1e-6)
    let grid = TileGrid(
      firstPosition: 0, rows: 4, tile: TileShape(rows: 2, columns: 2), slidingWindow: nil)
    let kept = mass.kept(.tiles(TileRuns.diagonal(on: grid)), on: grid, places: [0])
    #expect(abs(kept[0] - 6.5 / 9.5) < 1e-6)
    #expect(mass.kept(.all, on: grid, places: [0]) == [1])
  }

  @Test("A sink far above every score leaves keys nothing, and nothing is lost")
  func leavesNothing() {
    let mass = RowMass(positions: [3], keys: 4, slidingWindow: nil, sink: 900) { _ in
      [0, 1, -1, 2]
    }
    let grid = TileGrid(
      firstPosition: 0, rows: 4, tile: TileShape(rows: 2, columns: 2), slidingWindow: nil)
    #expect(mass.share(row: 0, keys: 0..<4) == 0)
    #expect(mass.kept(.tiles(TileRuns.diagonal(on: grid)), on: grid, places: [0]) == [1])
  }
}
