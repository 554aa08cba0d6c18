public import Compute

/// What the index of one (layer, chunk) is made from, and all it depends on.
public struct ChunkInputs {
  public var backend: any Backend
  public var shape: AttentionShape
  /// The layer's keys, written up to the chunk's last row.
  public var keyValueLayer: KeyValueLayer
  /// Position of the chunk's first row.
  public var firstPosition: Int
  /// Rows of the chunk; at least one.
  public var rows: Int
  /// Queries of the chunk's last min(64, rows) rows after rotary: [rows, queryHeads, headDim].
  public var lastRows: Tensor
  /// Means of the chunk's queries over blocks of 64, [head][blocks * headDim], as
  /// ``BlockSparse/pooledQueries(_:firstPosition:backend:)`` gives them; needed where
  /// ``AttentionPlanner/needsPooledQueries(layer:)``.
  public var pooledQueries: [[Float]]?
  /// Shares of key blocks, by query head; needed where heads choose by them on the host. See ``QuerySketch``.
  public var blockShares: [Int: HeadBlockShares] = [:]
  /// Blocks chosen on the device, where the backend builds the index itself; see ``QuerySketch``.
  public var blockChoices: [any ResidentBlockChoice] = []
  /// ``pooledQueries`` on the device, [queryHeads, blocks, headDim] float32, where the backend builds the index
  /// itself; see ``QuerySketch``.
  public var residentPooledQueries: Tensor?
  /// The sequence's memory for static patterns.
  public var memory: SelectionMemory
  /// Whether the index has to be here even where the backend could build and keep it: parts of it
  /// are wanted (``Compute/SparseIndex/restricted(toKeys:)``).
  public var needsHostIndex = false

  public init(
    backend: any Backend, shape: AttentionShape, keyValueLayer: KeyValueLayer, firstPosition: Int,
    rows: Int, lastRows: Tensor, pooledQueries: [[Float]]?, memory: SelectionMemory
  ) {
    self.backend = backend
    self.shape = shape
    self.keyValueLayer = keyValueLayer
    self.firstPosition = firstPosition
    self.rows = rows
    self.lastRows = lastRows
    self.pooledQueries = pooledQueries
    self.memory = memory
  }

  /// Keys that the chunk may see.
  public var keys: Int { firstPosition + rows }
}
