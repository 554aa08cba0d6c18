public import Compute
public import SparseAttention

/// The work of a kernel for one head's index of one chunk.
public struct IndexWork: Sendable, Hashable, Codable {
  /// Causal pairs in tiles.
  public var tilePairs: Int
  /// Causal pairs of single columns that no tile covers.
  public var columnPairs: Int
  /// Runs of key tiles, over all tile rows.
  public var runs: Int
  public var tileRows: Int

  public init(tilePairs: Int, columnPairs: Int, runs: Int, tileRows: Int) {
    self.tilePairs = tilePairs
    self.columnPairs = columnPairs
    self.runs = runs
    self.tileRows = tileRows
  }

  /// The work of a row set on its grid.
  public init(_ rowSet: RowSet, on grid: TileGrid) {
    let tileRows = grid.tileRows.count
    switch rowSet {
    case .all:
      self.init(tilePairs: grid.causalPairs, columnPairs: 0, runs: tileRows, tileRows: tileRows)
    case .tiles(let tiles):
      let pairs = grid.pairs(of: tiles)
      self.init(
        tilePairs: pairs.tilePairs, columnPairs: pairs.columnPairs, runs: tiles.runs.count,
        tileRows: tileRows)
    }
  }

  /// Pairs that are computed.
  public var pairs: Int { tilePairs + columnPairs }
}

/// Seconds that attention and estimation take on one device, for one attention shape.
///
/// Every coefficient was fitted to runs of the actual kernels (``Calibration``). Costs of heads add
/// up: a layer's attention takes `launch` once and the rest for each head.
public struct CostModel: Sendable, Hashable, Codable {
  /// Seconds of a call of the attention kernel, whatever it computes.
  public var launch: Double
  /// Seconds of a pair in a tile.
  public var tilePair: Double
  /// Seconds of a pair of a single column.
  public var columnPair: Double
  /// Seconds of a run of key tiles.
  public var run: Double
  /// Seconds of a tile row, with its masked diagonal.
  public var tileRow: Double

  /// Seconds of estimating one vertical-slash head, whatever the length.
  public var estimate: Double
  /// The same for each key: sums of the last rows and the choice of columns and offsets.
  public var estimateKey: Double
  /// Seconds that pooling for a block-sparse head takes for each row: means, and the second projection of
  /// the queries.
  public var poolRow: Double
  /// Seconds of scoring and choosing, for each pair of blocks.
  public var blockPair: Double
  /// Seconds of building the index on the host, for each run.
  public var buildRun: Double
  /// The same for each tile row.
  public var buildTileRow: Double

  public init(
    launch: Double = 0, tilePair: Double, columnPair: Double, run: Double = 0,
    tileRow: Double = 0, estimate: Double = 0, estimateKey: Double = 0, poolRow: Double = 0,
    blockPair: Double = 0, buildRun: Double = 0, buildTileRow: Double = 0
  ) {
    self.launch = launch
    self.tilePair = tilePair
    self.columnPair = columnPair
    self.run = run
    self.tileRow = tileRow
    self.estimate = estimate
    self.estimateKey = estimateKey
    self.poolRow = poolRow
    self.blockPair = blockPair
    self.buildRun = buildRun
    self.buildTileRow = buildTileRow
  }

  /// Seconds of one head's attention kernel, without the launch.
  public func kernelSeconds(_ work: IndexWork) -> Double {
    tilePair * Double(work.tilePairs) + columnPair * Double(work.columnPairs)
      + run * Double(work.runs) + tileRow * Double(work.tileRows)
  }

  /// Seconds before the kernel can run: estimation, choice, index. Zero for dense.
  public func indexSeconds(_ work: IndexWork, pattern: HeadPattern, keys: Int, rows: Int) -> Double
  {
    guard pattern != .dense else { return 0 }
    var seconds = buildRun * Double(work.runs) + buildTileRow * Double(work.tileRows)
    if pattern.needsLastRowSums { seconds += estimate + estimateKey * Double(keys) }
    if pattern.needsPooledQueries {
      let blocks = Double(keys / BlockSparse.blockSize)
      let queryBlocks = Double(rows / BlockSparse.blockSize)
      seconds += poolRow * Double(rows) + blockPair * queryBlocks * (blocks - queryBlocks / 2)
    }
    return seconds
  }
}
