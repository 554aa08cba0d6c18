public import Compute

/// What sparse work costs against dense work on one device: what decides where sparse would lose.
///
/// The unit is the time of one pair in dense attention. A head whose index costs more than dense is
/// computed dense, and so is everything in chunks that see few keys. A device's calibration replaces
/// the defaults.
public struct SparseCostModel: Sendable, Hashable {
  /// Chunks that see fewer keys are dense: estimation and index would cost more than they save.
  public var denseBelow: Int
  /// Cost of a pair in a tile of a sparse index.
  public var tilePair: Double
  /// Cost of a pair of a single column, whose key is gathered.
  public var columnPair: Double
  /// Cost of beginning a run of tiles, for each tile row, in pairs.
  public var run: Double

  public init(
    denseBelow: Int = 4096, tilePair: Double = 1, columnPair: Double = 1.5, run: Double = 64
  ) {
    self.denseBelow = denseBelow
    self.tilePair = tilePair
    self.columnPair = columnPair
    self.run = run
  }

  /// The costs for a model without a search, on a kind of device ("cpu", "cuda").
  ///
  /// The crossover is where the adaptive selection begins to pay: on a GPU attention is a small part of
  /// a short prompt, and selection costs some fixed time a layer.
  public static func unsearched(onDevice name: String) -> SparseCostModel {
    SparseCostModel(denseBelow: name == "cuda" ? 12_288 : 4096)
  }

  /// How many columns of one key tile cost as much as the tile.
  public func columnsThatFillTile(_ tile: TileShape) -> Int {
    guard columnPair > 0 else { return tile.columns }
    let columns = (Double(tile.columns) * tilePair / columnPair).rounded(.up)
    return min(tile.columns, max(1, Int(columns)))
  }

  /// The cost of a row set with these pairs and runs.
  public func cost(_ pairs: PairCounts, runs: Int) -> Double {
    Double(pairs.tilePairs) * tilePair + Double(pairs.columnPairs) * columnPair
      + Double(runs) * run
  }
}
