/// How large the pieces are that blocks are chosen with on a device.
///
/// A pure value: what the device allocates, and what has to be free.
public struct ShareIndexSizes: Sendable, Equatable {
  /// Bytes of sums that are made at a time, unless one tile of queries needs more.
  public static let sumBytes = 256 << 20
  /// Bytes of all lists of a layer. A head whose list is longer than its part runs dense.
  public static let listBytes = 1 << 30
  /// Groups of queries, and of keys, that a thread block multiplies.
  public static let scoreTile = 128

  public let heads: Int
  public let source: ShareSource
  public let queryBlocks: Int
  public let keyBlocks: Int

  public init(heads: Int, source: ShareSource, firstPosition: Int, rows: Int) {
    self.heads = heads
    self.source = source
    keyBlocks = (firstPosition + rows - 1) / ShareRule.blockSize + 1
    queryBlocks = keyBlocks - firstPosition / ShareRule.blockSize
  }

  /// Scored groups of queries of a block.
  public var groupsOfBlock: Int { source.scoredGroupsOfBlock }
  /// Tiles of key groups, and entries of a row of sums.
  public var keyTiles: Int { keyTiles(upToBlock: keyBlocks) }
  public var sumStride: Int { keyTiles * source.stride }

  /// Tiles of the groups of the key blocks 0 ..< `end`.
  package func keyTiles(upToBlock end: Int) -> Int {
    (end * ShareRule.blockSize / source.stride + Self.scoreTile - 1) / Self.scoreTile
  }
  /// 32-bit words of a query block's bits.
  public var words: Int { (keyBlocks + 31) / 32 }

  /// Query blocks whose sums are made at a time: whole tiles of query groups.
  public var blocksAtOnce: Int {
    let bytesOfBlock = max(1, heads * groupsOfBlock * (sumStride + keyTiles) * 4)
    let tile = Self.scoreTile / groupsOfBlock
    return min(queryBlocks, max(tile, Self.sumBytes / bytesOfBlock / tile * tile))
  }

  /// Steps that a head's list has room for: two tiles a block.
  public var stepCapacity: Int {
    let first = keyBlocks - queryBlocks
    let everything = queryBlocks * (2 * first + queryBlocks + 1)
    return max(1, min(everything, Self.listBytes / 4 / max(1, heads)))
  }

  /// Bytes of all that is on the device at once.
  public func bytes(shape: AttentionShape) -> Int {
    let sums = blocksAtOnce * groupsOfBlock * (sumStride + keyTiles) * 4
    var means = 0
    if case .means(let size) = source {
      // Means of blocks are float32, those of smaller groups bfloat16.
      let groups = ShareRule.blockSize / size
      let vectors = shape.queryHeads * blocksAtOnce + shape.keyValueHeads * keyBlocks
      means = groups * vectors * shape.headDim * (groups == 1 ? 4 : 2)
    }
    let lists = queryBlocks * (words * 4 + 3 * 8 + 2 * 4) + stepCapacity * 4
    return heads * (sums + lists + alternativeBytes) + means
  }

  /// Bytes a head of what alternatives to blocks are judged by: the shares of the last query block, float32, and the
  /// decision, Int32. Sources that score several groups of queries a block have none.
  public var alternativeBytes: Int { groupsOfBlock == 1 ? 4 * keyBlocks + 4 : 0 }
}
