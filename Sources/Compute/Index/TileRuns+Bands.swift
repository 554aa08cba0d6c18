/// Offsets and columns, the shift-invariant selections: A-shape, tri-shape, vertical-slash,
/// dilated and strided are all made of these.
extension TileRuns {
  /// The pairs (i, i - o) for all o in `offsets` and (i, j) for all j in `columns`, rounded out to
  /// tiles, with the diagonal tiles; causal, and inside the grid's window.
  ///
  /// - offsets: ranges of i - j, ascending and disjoint; the part below zero does not exist.
  /// - columns: single keys, ascending and distinct. Key tiles of which at least
  ///   `columnsThatFillTile` are asked for are computed as tiles (default: only those asked for
  ///   in full, which adds no pair); the others stay columns. Columns beyond the grid's keys are
  ///   dropped.
  /// - denseFrom: rows at this position and after it see every key. Their tile rows are dense.
  ///
  /// Tile rows lie at absolute multiples of tile.rows and tile.columns divides tile.rows, so an
  /// offset covers the same key tiles relative to the diagonal in every tile row: they are worked
  /// out once, then shifted and clipped for each row. O(offset ranges + columns + runs).
  public init(
    offsets: [Range<Int>], columns: [Int32], denseFrom: Int? = nil,
    columnsThatFillTile: Int? = nil, on grid: TileGrid
  ) {
    let (columnTiles, single) = Self.tiles(
      ofColumns: columns, limit: columnsThatFillTile ?? grid.tile.columns, on: grid)
    let relative = Self.relativeRuns(ofOffsets: offsets, on: grid)
    var builder = TileRunsBuilder(tileRows: grid.tileRows.count)
    for tileRow in grid.tileRows {
      let visible = grid.visibleTiles(ofTileRow: tileRow)
      if let denseFrom, grid.positions(ofTileRow: tileRow).upperBound > denseFrom {
        builder.add(visible)
        builder.endRow()
        continue
      }
      let base = tileRow * grid.tilesAcrossDiagonal
      var band = relative.partitioningIndex { $0.upperBound + base > visible.lowerBound }
      var column = columnTiles.partitioningIndex { $0.upperBound > visible.lowerBound }
      while band < relative.count || column < columnTiles.count {
        let bandRun =
          band < relative.count
          ? relative[band].lowerBound + base..<relative[band].upperBound + base : nil
        let columnRun = column < columnTiles.count ? columnTiles[column] : nil
        if let bandRun, bandRun.lowerBound <= columnRun?.lowerBound ?? .max {
          builder.add(bandRun.clipped(to: visible))
          band += 1
        } else if let columnRun {
          guard columnRun.lowerBound < visible.upperBound else {
            column = columnTiles.count
            continue
          }
          builder.add(columnRun.clipped(to: visible))
          column += 1
        }
      }
      builder.endRow()
    }
    self = builder.tileRuns(columns: single)
  }

  /// The diagonal tiles alone.
  public static func diagonal(on grid: TileGrid) -> TileRuns {
    TileRuns(offsets: [], columns: [], on: grid)
  }

  /// A sink of the first keys and a window of the nearest ones: j < sink or i - j < window.
  public static func sinkAndWindow(
    sink: Int, window: Int, denseFrom: Int? = nil, columnsThatFillTile: Int? = nil,
    on grid: TileGrid
  ) -> TileRuns {
    TileRuns(
      offsets: [0..<max(window, 0)], columns: (0..<Int32(min(max(sink, 0), grid.keys))).map { $0 },
      denseFrom: denseFrom, columnsThatFillTile: columnsThatFillTile, on: grid)
  }

  /// Key tiles relative to a tile row's first diagonal tile that hold the offsets; ascending,
  /// disjoint, not touching. The last one holds the diagonal.
  private static func relativeRuns(
    ofOffsets offsets: [Range<Int>], on grid: TileGrid
  ) -> [Range<Int>] {
    let tile = grid.tile
    var runs: [Range<Int>] = []
    func add(_ run: Range<Int>) {
      if let last = runs.last, last.upperBound >= run.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
      } else {
        runs.append(run)
      }
    }
    // Far offsets lie left of near ones. Row r of the tile meets offset o at key r - o.
    for range in offsets.reversed() {
      let low = max(range.lowerBound, 0)
      let high = min(range.upperBound, grid.keys)
      guard low < high else { continue }
      let first = floorDivide(1 - high, by: tile.columns)
      let last = floorDivide(tile.rows - 1 - low, by: tile.columns)
      add(first..<last + 1)
    }
    add(0..<grid.tilesAcrossDiagonal)
    return runs
  }

  /// Divides columns into runs of key tiles that hold at least `limit` of them, and the rest.
  private static func tiles(
    ofColumns columns: [Int32], limit: Int, on grid: TileGrid
  ) -> (tiles: [Range<Int>], single: [Int32]) {
    var tiles: [Range<Int>] = []
    var single: [Int32] = []
    single.reserveCapacity(columns.count)
    var start = 0
    let end = columns.partitioningIndex { Int($0) >= grid.keys }
    while start < end {
      let tile = Int(columns[start]) / grid.tile.columns
      var next = start + 1
      while next < end, Int(columns[next]) / grid.tile.columns == tile { next += 1 }
      if next - start < max(limit, 1) {
        single.append(contentsOf: columns[start..<next])
      } else if let last = tiles.last, last.upperBound == tile {
        tiles[tiles.count - 1] = last.lowerBound..<tile + 1
      } else {
        tiles.append(tile..<tile + 1)
      }
      start = next
    }
    return (tiles, single)
  }
}
