/// Sizes of the buffers from which a device builds the index of block-sparse heads: what it allocates, and
/// what has to be free.
///
/// A pure value. Key blocks chosen for two tile rows of 64 are one list; scores are made for some pairs of
/// tile rows at a time, so that memory grows with the prompt and not with its square.
public struct BlockIndexSizes: Sendable, Equatable {
  /// Rows, and keys, of a block and of a tile.
  public static let blockSize = 64
  /// Block-sparse heads.
  public let heads: Int
  /// The most key blocks that a query block takes; at most ``keyBlocks``.
  public let topK: Int
  /// Blocks of queries that the chunk touches, and blocks of keys up to its last row.
  public let queryBlocks: Int
  public let keyBlocks: Int
  /// Pairs of tile rows that the chunk touches.
  public let pairs: Int
  /// Bytes of scores that are made at a time, or those of 32 pairs if that is more.
  public let scoreBytes: Int

  /// - Parameters:
  ///   - heads: Block-sparse heads of the layer.
  ///   - topK: The most blocks that any of them takes, first and own not counted.
  ///   - rows: At least 1.
  ///   - scoreBytes: ``DeviceCapabilities/blockScoreBytes``.
  public init(heads: Int, topK: Int, firstPosition: Int, rows: Int, scoreBytes: Int) {
    self.scoreBytes = scoreBytes
    let last = firstPosition + rows - 1
    self.heads = heads
    keyBlocks = last / Self.blockSize + 1
    queryBlocks = keyBlocks - firstPosition / Self.blockSize
    pairs = last / (2 * Self.blockSize) - firstPosition / (2 * Self.blockSize) + 1
    self.topK = min(max(topK, 0), keyBlocks)
  }

  /// The most entries of a pair's list: both halves' blocks, their first and their own.
  public var listCapacity: Int { 2 * (topK + 2) }

  /// Pairs that scores are made for at a time.
  public var slabPairs: Int {
    let bytesOfPair = max(1, heads * 2 * keyBlocks * 4)
    // 64 rows of scores are what one thread block makes.
    return min(pairs, max(32, scoreBytes / bytesOfPair / 32 * 32))
  }

  /// Bytes that are on the device at once, including the means of the queries of all heads.
  public func bytes(shape: AttentionShape) -> Int {
    let means =
      (shape.queryHeads * queryBlocks + shape.keyValueHeads * keyBlocks) * shape.headDim * 4
    let scores = heads * 2 * slabPairs * keyBlocks * 4
    // Lists twice, as they are written and closed up; starts, counts and two sums.
    let lists = heads * pairs * (2 * listCapacity * 4 + 24)
    return means + scores + lists
  }
}
