/// An index that a device built and keeps: nothing of its size ever comes to the host.
public protocol ResidentIndex: AnyObject, Sendable {
  /// For each query head, the pairs that it computes. Waits until the index is built.
  func computedPairs() throws -> [Int]

  /// For each query head, whether it computes every causal pair. Waits until the index is built.
  func isDense() throws -> [Bool]

  /// The same index with these heads dense.
  func makingDense(_ heads: Set<Int>) throws -> any ResidentIndex
}

/// A backend that estimates, selects and builds indices itself, all heads of a layer at once.
public protocol IndexBuilding: Backend {
  /// The index of one (layer, chunk), made on the device. Returns before it is built.
  func makeIndex(_ request: IndexRequest) throws -> SparseIndex
}

/// What an ``IndexBuilding`` backend makes an index from.
public struct IndexRequest: Sendable {
  /// What one head asks for.
  public enum Head: Sendable, Hashable {
    case dense
    /// The pairs (i, i - o) for offsets o in ascending disjoint ranges, the single columns
    /// (ascending), and every key for rows at `denseFrom` and after it.
    case bands(offsets: [Range<Int>], columns: [Int32], denseFrom: Int?)
    /// The columns and offsets with the most mass in the last rows, so many of each.
    case estimated(columns: Int, offsets: Int)
  }

  /// One for each query head.
  public var heads: [Head]
  /// Position of the chunk's first row, and its rows.
  public var firstPosition: Int
  public var rows: Int
  /// Queries of the chunk's last min(64, rows) rows after rotary: [rows, queryHeads, headDim].
  public var lastRows: Tensor
  /// The layer's keys, written up to the chunk's last row.
  public var layer: KeyValueLayer
  public var shape: AttentionShape
  /// Columns 0 ..< forcedColumns and offsets 0 ..< forcedOffsets are taken before all others.
  public var forcedColumns: Int
  public var forcedOffsets: Int
  /// Cost of a pair of a single column, in pairs of dense attention.
  public var columnCost: Double
  /// Whether heads stay sparse even where that costs more than dense.
  public var exact: Bool

  public init(
    heads: [Head], firstPosition: Int, rows: Int, lastRows: Tensor, layer: KeyValueLayer,
    shape: AttentionShape, forcedColumns: Int, forcedOffsets: Int, columnCost: Double, exact: Bool
  ) {
    self.heads = heads
    self.firstPosition = firstPosition
    self.rows = rows
    self.lastRows = lastRows
    self.layer = layer
    self.shape = shape
    self.forcedColumns = forcedColumns
    self.forcedOffsets = forcedOffsets
    self.columnCost = columnCost
    self.exact = exact
  }

  /// Keys that the chunk may see.
  public var keys: Int { firstPosition + rows }
}
