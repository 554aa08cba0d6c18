/// What the index of one (layer, chunk) is made from: where the chunk stands, its layer's keys, and what
/// was seen of its queries.
public struct ChunkInputs: Sendable {
  public var shape: AttentionShape
  /// The layer's keys, written up to the chunk's last row.
  public var layer: KeyValueLayer
  /// Position of the chunk's first row.
  public var firstPosition: Int
  /// Rows of the chunk; at least one.
  public var rows: Int
  /// Queries of the chunk's last min(64, rows) rows after rotary: [rows, queryHeads, headDim].
  public var lastRows: Tensor
  /// What was seen of all queries; nil where no head needs that.
  public var estimates: QueryEstimates?

  public init(
    shape: AttentionShape, layer: KeyValueLayer, firstPosition: Int, rows: Int, lastRows: Tensor,
    estimates: QueryEstimates? = nil
  ) {
    self.shape = shape
    self.layer = layer
    self.firstPosition = firstPosition
    self.rows = rows
    self.lastRows = lastRows
    self.estimates = estimates
  }

  /// Keys that the chunk may see.
  public var keys: Int { firstPosition + rows }

  /// The estimates that a host selects by; empty where there are none, or a device has them.
  public var hostEstimates: HostQueryEstimates {
    if case .host(let estimates) = estimates { estimates } else { HostQueryEstimates() }
  }

  /// The estimates that a device builds the index from; empty where there are none, or the host has them.
  public var deviceEstimates: DeviceQueryEstimates {
    if case .device(let estimates) = estimates { estimates } else { DeviceQueryEstimates() }
  }
}

/// Estimates made of all queries of a chunk, where the index is made of them.
public enum QueryEstimates: Sendable {
  case host(HostQueryEstimates)
  case device(DeviceQueryEstimates)
}

/// Estimates that came to the host, which selects by them.
public struct HostQueryEstimates: Sendable {
  /// Means of the chunk's queries over blocks of 64, [head][blocks * headDim]. Needed where a head is block-sparse.
  public var pooledQueries: [[Float]]?
  /// Shares of key blocks, by query head. Needed where a head chooses by them.
  public var blockShares: [Int: HeadBlockShares]

  public init(pooledQueries: [[Float]]? = nil, blockShares: [Int: HeadBlockShares] = [:]) {
    self.pooledQueries = pooledQueries
    self.blockShares = blockShares
  }
}

/// Shares of key blocks in the query blocks of a chunk, for one head.
public struct HeadBlockShares: Sendable, Hashable {
  /// For each query block of the chunk, the shares of the key blocks up to its own.
  public var rows: [[Float]]

  public init(rows: [[Float]]) { self.rows = rows }
}

/// Estimates that stay on a device, which builds the index from them.
public struct DeviceQueryEstimates: Sendable {
  /// Means of the chunk's queries over the blocks of 64 positions that it touches, at absolute multiples:
  /// [queryHeads, blocks, headDim] float32, as
  /// ``EstimationOperations/poolQueries(_:firstPosition:into:firstBlock:)`` writes them. Needed where a head is
  /// block-sparse.
  public var pooledQueries: Tensor?
  /// Key blocks chosen for the chunk's queries. Needed where a head asks for them.
  public var blockChoices: [any ResidentBlockChoice]

  public init(pooledQueries: Tensor? = nil, blockChoices: [any ResidentBlockChoice] = []) {
    self.pooledQueries = pooledQueries
    self.blockChoices = blockChoices
  }
}
