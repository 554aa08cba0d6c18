/// An index that a device built and keeps: nothing of its size ever comes to the host.
public protocol ResidentIndex: AnyObject, Sendable {
  /// What the device counted of it. May be kept when the index is not.
  var counts: any ResidentIndexCounts { get }

  /// The same index with these heads dense.
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex
}

extension ResidentIndex {
  /// For each query head, the pairs that it computes. Waits until the index is built.
  public func computedPairs() throws -> [Int] { try counts.computedPairs() }

  /// For each query head, whether it computes every causal pair. Waits until the index is built.
  public func isDense() throws -> [Bool] { try counts.isDense() }
}

/// What a device counted of an index that it built: a few numbers a head, without the index.
public protocol ResidentIndexCounts: Sendable {
  /// For each query head, the pairs that it computes. Waits until the index is built.
  func computedPairs() throws -> [Int]

  /// For each query head, whether it computes every causal pair. Waits until the index is built.
  func isDense() throws -> [Bool]
}

/// What ``EstimationOperations/makeIndex(_:)`` makes an index from.
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
    /// ``ShareRequest/Head``.
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
  }

  /// One for each query head.
  public var heads: [Head]
  /// Position of the chunk's first row, and its rows.
  public var firstPosition: Int
  public var rows: Int
  /// Queries of the chunk's last min(64, rows) rows after rotary: [rows, queryHeads, headDim].
  public var lastRows: Tensor
  /// Means of the chunk's queries over the blocks of 64 positions that it touches, at absolute multiples:
  /// [queryHeads, blocks, headDim] float32 on the device, as
  /// ``EstimationOperations/poolQueries(_:firstPosition:into:firstBlock:)`` writes them. Needed where a head is block-sparse.
  public var pooledQueries: Tensor?
  /// Key blocks chosen for the chunk's queries. Needed where a head asks for them.
  public var blockChoices: [any ResidentBlockChoice] = []
  /// The layer's keys, written up to the chunk's last row.
  public var layer: KeyValueLayer
  public var shape: AttentionShape
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
  /// not only at multiples of the tile (`BandCover`). Attention with fp8 operands always has them there.
  package var freeBands = true

  public init(
    heads: [Head], firstPosition: Int, rows: Int, lastRows: Tensor, pooledQueries: Tensor? = nil,
    layer: KeyValueLayer, shape: AttentionShape, forcedColumns: Int, forcedOffsets: Int,
    columnCost: Double, tileCost: Double = 1, runCost: Double = 0, exact: Bool
  ) {
    self.heads = heads
    self.firstPosition = firstPosition
    self.rows = rows
    self.lastRows = lastRows
    self.pooledQueries = pooledQueries
    self.layer = layer
    self.shape = shape
    self.forcedColumns = forcedColumns
    self.forcedOffsets = forcedOffsets
    self.columnCost = columnCost
    self.tileCost = tileCost
    self.runCost = runCost
    self.exact = exact
  }

  /// Keys that the chunk may see.
  public var keys: Int { firstPosition + rows }

  /// What a head of chosen blocks asks for; nil for other heads.
  public func chosenHead(_ head: Int) -> ShareRequest.Head? {
    guard case .chosenBlocks = heads[head] else { return nil }
    return blockChoices.lazy.flatMap(\.request.heads).first { $0.head == head }
  }
}

/// A backend that takes a large index of the host's making once, and then attends by it as often as
/// wanted: how selections that no estimator makes are measured.
package protocol IndexUploading: Backend {
  /// An index over rows from position 0 on, on the backend's own tiles.
  ///
  /// - Parameters:
  ///   - rowSetOfHead: For each query head, which row set it uses.
  ///   - rowSet: Called once for each row set that a head uses, in ascending order; none is kept on the
  ///     host, where all of them together may be too large.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for runs out of order or range.
  func makeIndex(
    rows: Int, shape: AttentionShape, rowSetOfHead: [Int], rowSet: (Int) throws -> RowSet
  ) throws -> SparseIndex
}
