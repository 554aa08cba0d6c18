/// Where the query rows of one chunk lie on a backend's grid of tiles.
///
/// A pure value: everything that rounds pairs out to tiles starts from it.
public struct TileGrid: Sendable, Hashable {
  /// Position of the chunk's first query row.
  public let firstPosition: Int
  /// Query rows in the chunk; at least one.
  public let rows: Int
  public let tile: TileShape
  /// The model's own sliding window: key tiles that lie before it for all rows of a tile row are
  /// left out. nil: none.
  public let slidingWindow: Int?

  public init(firstPosition: Int, rows: Int, tile: TileShape, slidingWindow: Int? = nil) {
    precondition(firstPosition >= 0 && rows > 0 && slidingWindow.map { $0 > 0 } ?? true)
    self.firstPosition = firstPosition
    self.rows = rows
    self.tile = tile
    self.slidingWindow = slidingWindow
  }

  /// Keys that the chunk may see: all positions up to its last row.
  public var keys: Int { firstPosition + rows }

  /// The absolute tile rows that the chunk touches.
  public var tileRows: Range<Int> {
    firstPosition / tile.rows..<(keys + tile.rows - 1) / tile.rows
  }

  /// Key tiles that have the width of one tile row: the diagonal tiles of a full row.
  public var tilesAcrossDiagonal: Int { tile.rows / tile.columns }

  /// The chunk's query positions in a tile row; never empty.
  public func positions(ofTileRow tileRow: Int) -> Range<Int> {
    max(tileRow * tile.rows, firstPosition)..<min((tileRow + 1) * tile.rows, keys)
  }

  /// Key tiles that hold the keys some position of a tile row may see.
  public func visibleTiles(ofTileRow tileRow: Int) -> Range<Int> {
    let positions = positions(ofTileRow: tileRow)
    let firstKey = slidingWindow.map { max(0, positions.lowerBound - $0 + 1) } ?? 0
    let diagonal = tileRow * tilesAcrossDiagonal
    return min(firstKey / tile.columns, diagonal)..<(positions.upperBound - 1) / tile.columns + 1
  }

  /// Whether a row set computes every pair: all key tiles that the chunk's rows see.
  public func isDense(_ tiles: TileRuns) -> Bool {
    tileRows.enumerated().allSatisfy { row, tileRow in
      let runs = tiles.runs(ofRow: row)
      let first = runs.first.map { Int($0.start) }
      return runs.count == 1 && first == visibleTiles(ofTileRow: tileRow).lowerBound
    }
  }
}

extension TileGrid {
  /// Throws ``ComputeError/shapeMismatch(operation:detail:)`` unless these rows are some of the chunk's.
  func require(_ positions: Range<Int>) throws {
    guard !positions.isEmpty, positions.lowerBound >= firstPosition, positions.upperBound <= keys
    else {
      throw ComputeError.shapeMismatch(
        operation: "SparseIndex", detail: "rows \(positions) of \(firstPosition)..<\(keys)")
    }
  }
}
