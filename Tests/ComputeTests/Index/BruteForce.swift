import Compute

/// Tile shapes of the backends, finer and coarser than the blocks of the published method.
let tileShapes = [(64, 16), (32, 16), (64, 64), (16, 8), (128, 128), (8, 1)].map {
  TileShape(rows: $0.0, columns: $0.1)
}

/// Chunk positions that meet every case: from zero or not, tile multiples or not, one row.
let chunks = [(0, 1), (0, 63), (0, 64), (0, 200), (5, 1), (7, 100), (128, 96), (130, 67), (255, 2)]

/// The pairs of a row set as a matrix [rows][keys], each element the number of times it is computed
/// (a tile and a column that meet count as once, as the index defines).
func computedMask(_ tiles: TileRuns, on grid: TileGrid) -> [[Int]] {
  grid.tileRows.enumerated().flatMap { row, tileRow in
    grid.positions(ofTileRow: tileRow).map { position in
      var counts = [Int](repeating: 0, count: grid.keys)
      for run in tiles.runs(ofRow: row) {
        for key in Int(run.start) * grid.tile.columns..<Int(run.end) * grid.tile.columns
        where isVisible(key, from: position, on: grid) {
          counts[key] += 1
        }
      }
      for column in tiles.columns.map(Int.init)
      where isVisible(column, from: position, on: grid) && counts[column] == 0 {
        counts[column] += 1
      }
      return counts
    }
  }
}

func isVisible(_ key: Int, from position: Int, on grid: TileGrid) -> Bool {
  key <= position && (grid.slidingWindow.map { position - key < $0 } ?? true)
}

/// A small deterministic generator (SplitMix64), so that a failing case can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: Int) { state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension SeededGenerator {
  /// Ascending distinct numbers below `bound`, each taken with probability `share`.
  mutating func subset(below bound: Int, share: Double) -> [Int] {
    (0..<bound).filter { _ in Double.random(in: 0..<1, using: &self) < share }
  }
}
