/// What selectors look at, and the building of indices. Results are tensors of the device.
public protocol EstimationOperations: AnyObject, Sendable {
  /// Softmax mass that the given last rows put on every column and on every offset.
  ///
  /// q: [rows, queryHeads, headDim], rows <= 64, row r at position firstPosition + r, the last one
  /// at keys - 1 where keys = firstPosition + rows <= layer.count. `heads` are the query heads
  /// wanted. For each: P = softmax(scale * q k^T) over j <= i, then
  /// vertical[j] = sum over rows of P[i, j], slash[o] = sum over rows of P[i, i - o]; both have
  /// `keys` entries. Where the layer has sinks the softmax is over a head's sink too: sums lack its mass.
  /// Source: MInference, section 3.2 and algorithm 2.
  func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums

  /// Mean of each block of `blockSize` rows, for every head; the last block may be short (its mean
  /// is over the rows it has). x: [rows, heads, headDim]; result: [heads, blocks, headDim] float32.
  func meanPooled(_ x: Tensor, blockSize: Int) throws -> Tensor

  /// The same over the keys 0 ..< count of a layer; result: [keyValueHeads, blocks, headDim] float32.
  func meanPooledKeys(_ layer: KeyValueLayer, count: Int, blockSize: Int) throws -> Tensor

  /// The share of each query block's attention that each block of 128 keys holds, by what `source` scores.
  ///
  /// Groups are `stride` positions at absolute multiples. With score(a, e) of group a of queries and
  /// group e of keys, e <= a (and (a - e) stride - (stride - 1) inside the window), P(a, .) is the
  /// softmax of a's scores, and the share of key block c in query block b the mean, over the scored
  /// groups of b that q has a row of, of P(a, e) summed over the groups e of c. Where the layer has sinks the
  /// softmax is over a head's sink less ln(stride) too, a group's score standing for stride keys.
  ///
  /// Antidiagonals: score(a, e) = scale / stride * sum over i of q[stride a + stride - 1 - i] .
  /// k[stride e + i]; rows and keys that are not there count as zeros. Scored are the groups a with
  /// a mod queryStride = queryStride - 1. Source: XAttention (arXiv 2503.16428), section 2.1.
  ///
  /// Means: score(a, e) = scale * mean(q of a) . mean(k of e), over the rows of q, and the keys up
  /// to the last of them, that a group has. Source: FlexPrefill (arXiv 2502.20766), section 3.2.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim] after rotary, row r at position firstPosition + r.
  ///   - layer: Keys up to the last of these rows are written.
  ///   - heads: The query heads wanted.
  ///   - source: One that is ``ShareSource/isSupported``.
  /// - Returns: [heads, query blocks that q touches, key blocks up to its last row] float32; zero
  ///   behind a query block's own, and in the whole row of a block none of whose groups is scored.
  func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    source: ShareSource
  ) throws -> Tensor

  /// An empty choice of key blocks on the device; queries are added as they come.
  ///
  /// - Throws: As ``makeIndex(_:)``.
  func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice

  /// The index of one (layer, chunk), estimated, selected and built on the device for all heads at
  /// once. Returns before it is built.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` without
  ///   ``DeviceCapabilities/buildsIndices``.
  func makeIndex(_ request: IndexRequest) throws -> SparseIndex

  /// Writes means of queries over blocks of 64 rows into ``DeviceQueryEstimates/pooledQueries``: a chunk's
  /// queries come in parts.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim] after rotary; row 0 stands at `firstPosition`. Blocks lie at
  ///     absolute multiples of 64; of those at the ends q may hold a part, over which the mean is then.
  ///   - means: [queryHeads, blocks, headDim] float32; the first block of q goes to `firstBlock`.
  /// - Throws: As ``makeIndex(_:)``.
  func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws
}

extension EstimationOperations {
  /// Shares by antidiagonals of this stride, all groups of queries scored.
  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    stride: Int
  ) throws -> Tensor {
    try blockShares(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads,
      source: .antidiagonals(stride: stride, queryStride: 1))
  }
}

/// Column sums and offset sums of the attention of a prompt's last rows, on the device.
public struct DeviceRowSums: Sendable {
  /// [n, stride] float32, stride >= keys; entries behind the first `keys` of a row mean nothing.
  public let vertical: Tensor
  /// Likewise, of offsets.
  public let slash: Tensor
  /// Keys of the prompt: entries of a sum.
  public let keys: Int
  /// Which row of the tensors belongs to each of the heads asked for.
  private let rows: [Int]

  public init(vertical: Tensor, slash: Tensor, keys: Int, rows: [Int]) {
    precondition(vertical.shape == slash.shape && keys <= vertical.rowCount)
    self.vertical = vertical
    self.slash = slash
    self.keys = keys
    self.rows = rows
  }

  /// Heads that there are sums of.
  public var heads: Int { rows.count }

  /// The sums of one of the heads asked for, `index` counting in the order asked: [keys] each.
  public func sums(at index: Int) -> (vertical: Tensor, slash: Tensor) {
    func row(_ tensor: Tensor) -> Tensor {
      Tensor(
        buffer: tensor.buffer,
        byteOffset: tensor.byteOffset + rows[index] * tensor.rowCount * tensor.type.byteCount,
        type: tensor.type, shape: [keys])
    }
    return (row(vertical), row(slash))
  }
}

/// Column sums and offset sums of the attention of a prompt's last rows, for one query head, on the
/// host.
public struct LastRowSums: Sendable {
  /// Mass on key column j; `keys` entries.
  public var vertical: [Float]
  /// Mass on offset o = i - j; `keys` entries.
  public var slash: [Float]

  public init(vertical: [Float], slash: [Float]) {
    self.vertical = vertical
    self.slash = slash
  }
}

/// Reading estimates where the host selects.
extension MemoryOperations {
  /// The sums of one head; `index` counts in the order in which heads were asked for. Waits.
  public func read(_ sums: DeviceRowSums, at index: Int) throws -> LastRowSums {
    let (vertical, slash) = sums.sums(at: index)
    return LastRowSums(vertical: try read(vertical), slash: try read(slash))
  }

  /// The sums of all heads, in the order in which they were asked for. Waits.
  public func read(_ sums: DeviceRowSums) throws -> [LastRowSums] {
    try (0..<sums.heads).map { try read(sums, at: $0) }
  }

  /// The rows of a tensor, one array for each entry of its first axis. Waits.
  public func readRows(_ tensor: Tensor) throws -> [[Float]] {
    try (0..<tensor.rows).map { try read(tensor.slice(rows: $0..<$0 + 1)) }
  }
}
