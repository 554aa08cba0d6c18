#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Tiles drawn at random: what an index of blocks costs whatever estimator chose them.
///
/// Parts of rows compute a sink and a window, and between them every key tile with the same probability,
/// drawn once for all tile rows of a part.
package struct RandomTiles: Sendable {
  /// What all parts have in common.
  package struct Form: Sendable {
    /// Positions that compute the same tiles.
    package var part: Int
    /// First keys that every row computes.
    package var sink: Int
    /// Nearest keys that every row computes.
    package var window: Int

    /// 128 positions, the grain of a GPU's thread block, with a sink of 128 and a window of 512.
    package static let pairs = Form(part: 128, sink: 128, window: 512)
    /// Every tile row for itself, and nothing in common but the first tile.
    package static let rows = Form(part: 1, sink: 1, window: 1)
  }

  private let form: Form
  private let grid: TileGrid
  /// Of a tile that is neither sink nor window.
  private let probability: Double

  /// - Parameter density: Computed pairs / causal pairs that are to come out on average, sink and window
  ///   included; what these alone take is the least.
  package init(_ form: Form, density: Double, on grid: TileGrid) {
    let least = Double(
      grid.pairs(of: Self(form: form, grid: grid, probability: 0).draw(seed: 0)).total)
    let causal = Double(grid.causalPairs)
    let share = causal > least ? (density * causal - least) / (causal - least) : 1
    self.init(form: form, grid: grid, probability: min(1, max(0, share)))
  }

  private init(form: Form, grid: TileGrid, probability: Double) {
    self.form = form
    self.grid = grid
    self.probability = probability
  }

  /// One draw; the same for the same seed.
  package func draw(seed: UInt64) -> TileRuns {
    var random = SeededGenerator(seed: seed)
    let tile = grid.tile
    let rowsOfPart = max(1, form.part / tile.rows)
    let sinkTiles = (form.sink + tile.columns - 1) / tile.columns
    let rows = grid.tileRows
    var offsets: [Int32] = [0]
    var runs: [KeyTileRun] = []
    var drawn: [KeyTileRun] = []
    // Runs of drawn tiles, as many as on average, with some to spare.
    let tiles = Double(grid.causalPairs) / Double(tile.rows * tile.columns)
    runs.reserveCapacity(Int(1.05 * tiles * probability * (1 - probability)) + 3 * rows.count)
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: rowsOfPart) {
      let near = max(0, first * tile.rows - form.window + 1) / tile.columns
      let sink = min(sinkTiles, near)
      draw(from: sink, to: near, into: &drawn, &random)
      for row in first..<min(first + rowsOfPart, rows.upperBound) {
        let end = Int32(grid.visibleTiles(ofTileRow: row).upperBound)
        let start = runs.count
        if sink > 0 { runs.append(KeyTileRun(start: 0, end: Int32(sink))) }
        Self.append(drawn, to: &runs, from: start)
        Self.append([KeyTileRun(start: Int32(near), end: end)], to: &runs, from: start)
        offsets.append(Int32(runs.count))
      }
    }
    return TileRuns(rowOffsets: offsets, runs: runs, columns: [])
  }

  /// Runs of the tiles that are drawn of `first` ..< `end`. Gaps between them are geometric, so that the
  /// work is that of the tiles that are drawn, of which there may be hundreds of millions in all.
  private func draw(
    from first: Int, to end: Int, into runs: inout [KeyTileRun], _ random: inout SeededGenerator
  ) {
    runs.removeAll(keepingCapacity: true)
    guard probability > 0, first < end else { return }
    guard probability < 1 else {
      runs.append(KeyTileRun(start: Int32(first), end: Int32(end)))
      return
    }
    let scale = 1 / log1p(-probability)
    var tile = first
    var (runStart, runEnd) = (first, first)
    defer {
      if runEnd > runStart { runs.append(KeyTileRun(start: Int32(runStart), end: Int32(runEnd))) }
    }
    while true {
      // In 2^-53 ... 1, so that the logarithm is finite.
      let uniform = Double(random.next() >> 11 + 1) * 0x1p-53
      let gap = log(uniform) * scale
      guard gap < Double(end - tile) else { return }
      tile += Int(gap)
      guard tile < end else { return }
      if tile == runEnd {
        runEnd += 1
      } else {
        if runEnd > runStart { runs.append(KeyTileRun(start: Int32(runStart), end: Int32(runEnd))) }
        (runStart, runEnd) = (tile, tile + 1)
      }
      tile += 1
    }
  }

  /// Adds runs behind those of a row that begins at `start`; ones that touch become one.
  private static func append(
    _ added: [KeyTileRun], to runs: inout [KeyTileRun], from start: Int
  ) {
    var added = added[...]
    if let first = added.first, runs.count > start, runs[runs.count - 1].end == first.start {
      runs[runs.count - 1].end = first.end
      added.removeFirst()
    }
    runs.append(contentsOf: added)
  }
}
