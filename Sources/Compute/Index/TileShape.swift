/// Query positions x key columns that an attention kernel computes as a unit.
///
/// Tiles lie at absolute multiples of their extents. `columns` divides `rows`, so that offsets
/// from the diagonal round the same way in every row of tiles.
public struct TileShape: Sendable, Hashable {
  /// Query positions in a tile.
  public let rows: Int
  /// Key columns in a tile.
  public let columns: Int

  public init(rows: Int, columns: Int) {
    precondition(rows > 0 && columns > 0 && rows % columns == 0)
    self.rows = rows
    self.columns = columns
  }
}
