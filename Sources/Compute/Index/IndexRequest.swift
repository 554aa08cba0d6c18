/// What ``EstimationOperations/makeIndex(_:)`` makes an index from: a chunk, and what its heads ask for.
public struct IndexRequest: Sendable {
  /// What one head asks for.
  public enum Head: Sendable, Hashable {
    case dense
    /// The pairs (i, i - o) for offsets o in ascending disjoint ranges, the single columns
    /// (ascending), and every key for rows at `denseFrom` and after it.
    case bands(offsets: [Range<Int>], columns: [Int32], denseFrom: Int?)
    /// What scores highest, estimated and selected on the device.
    case scored(Source, Shape)
    /// The key blocks that a ``ResidentBlockChoice`` holds for the head, with the columns and the dense rows of its
    /// ``ShareRequest/Head``, or the alternative that this names.
    case chosenBlocks
  }

  /// What scores are made of.
  public enum Source: Sendable, Hashable {
    /// Softmax mass of the chunk's last rows on every column and every offset.
    case lastRows
    /// Products of the means of blocks of 64 queries with those of 64 keys.
    case pooledMeans
  }

  /// What is selected by scores.
  public enum Shape: Sendable, Hashable {
    /// Bands along the diagonal at the offsets, and single columns.
    case bandsAndColumns(offsets: Rule, columns: Rule)
    /// For each block of queries, blocks of keys; the first block and its own besides.
    case blocks(Rule)
  }

  /// How much of it is selected.
  public enum Rule: Sendable, Hashable {
    /// So many of the highest.
    case count(Int)
    /// As many of the highest as hold this share of the mass, and no fewer than `least`.
    case share(Float, least: Int)
  }

  /// One for each query head.
  public var heads: [Head]
  public var chunk: ChunkInputs
  /// Columns 0 ..< forcedColumns and offsets 0 ..< forcedOffsets are taken before all others.
  public var forcedColumns: Int
  public var forcedOffsets: Int
  /// Cost of a pair of a single column, in pairs of dense attention.
  public var columnCost: Double
  /// The same of a pair in a tile, and of beginning a run of tiles in a tile row, as block-sparse heads are
  /// judged.
  public var tileCost: Double
  public var runCost: Double
  /// Whether heads stay sparse even where that costs more than dense.
  public var exact: Bool
  /// Whether the tiles that hold offsets may begin at any key, where the device computes them faster so, and
  /// not only at multiples of the tile (`BandCover`). Attention with fp8 operands always has
  /// them at multiples.
  package var freeBands = true

  public init(
    heads: [Head], chunk: ChunkInputs, forcedColumns: Int, forcedOffsets: Int,
    columnCost: Double, tileCost: Double = 1, runCost: Double = 0, exact: Bool
  ) {
    self.heads = heads
    self.chunk = chunk
    self.forcedColumns = forcedColumns
    self.forcedOffsets = forcedOffsets
    self.columnCost = columnCost
    self.tileCost = tileCost
    self.runCost = runCost
    self.exact = exact
  }

  /// The columns and offsets that are estimated for a head from the chunk's last rows: those that it asks for, or the
  /// alternative to its chosen blocks; nil: none.
  public func estimatedBands(_ head: Int) -> (columns: Rule, offsets: Rule)? {
    switch heads[head] {
    case .scored(.lastRows, .bandsAndColumns(let offsets, let columns)): (columns, offsets)
    case .chosenBlocks: chosenHead(head)?.alternative.map { ($0.columns, $0.offsets) }
    case .dense, .bands, .scored: nil
    }
  }

  /// What a head of chosen blocks asks for; nil for other heads.
  public func chosenHead(_ head: Int) -> ShareRequest.Head? {
    guard case .chosenBlocks = heads[head] else { return nil }
    return chunk.deviceEstimates.blockChoices.lazy.flatMap(\.request.heads).first {
      $0.head == head
    }
  }
}
