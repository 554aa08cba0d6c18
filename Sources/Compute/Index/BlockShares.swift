/// The rule by which key blocks are chosen from their shares of a query block's attention.
///
/// Blocks are taken in descending order of their shares, the lower one first of equal ones, until
/// those taken hold ``share`` of all; ``floor`` and ``cap`` bound their number. The first block and
/// the query's own are taken besides. Source: XAttention (arXiv 2503.16428), section 2.2; floor and
/// cap are additions of this package.
public struct ShareRule: Sendable, Hashable {
  /// The share that the blocks taken hold, 0 ... 1; 1 takes every block.
  public var share: Float
  /// The part of the blocks up to the query's own that is taken at least, 0 ... 1, rounded up.
  public var floor: Float
  /// The part that is taken at most, rounded up.
  public var cap: Float

  public init(share: Float, floor: Float = 0, cap: Float = 1) {
    self.share = share
    self.floor = floor
    self.cap = cap
  }

  /// Query rows and keys of a block; blocks lie at absolute multiples.
  public static let blockSize = 128

  /// The strides of antidiagonals that backends have.
  public static let strides = [8, 16]

  /// A share as an integer: sums are exact, and the order does not hang on how they are added up.
  static let unit: Float = 1_073_741_824

  /// The key blocks that one query block takes, ascending.
  ///
  /// - Parameter shares: Of the blocks up to the query's own, which is the last.
  /// - Complexity: O(n log n).
  public func blocks(_ shares: ArraySlice<Float>) -> [Int32] {
    let count = shares.count
    guard count > 0 else { return [] }
    let keys = shares.map { $0 > 0 ? UInt64(min($0, 1) * Self.unit + 0.5) : 0 }
    var wanted = count
    let order = keys.indices.sorted { (keys[$1], $0) < (keys[$0], $1) }
    if share < 1 {
      let enough = UInt64((share * Float(keys.reduce(0, +))).rounded(.up))
      var held: UInt64 = 0
      wanted = 0
      while held < enough, wanted < count {
        held += keys[order[wanted]]
        wanted += 1
      }
    }
    func part(_ share: Float) -> Int { min(count, Int((share * Float(count)).rounded(.up))) }
    wanted = min(max(wanted, part(floor)), part(cap))
    return Set(order[..<wanted] + [0, count - 1]).sorted().map(Int32.init)
  }
}

/// What the key blocks of a layer's chunk are chosen by, for all heads that share a stride.
public struct ShareRequest: Sendable {
  /// One head whose blocks are chosen.
  public struct Head: Sendable, Hashable {
    /// Query head.
    public var head: Int
    public var rule: ShareRule

    public init(head: Int, rule: ShareRule) {
      self.head = head
      self.rule = rule
    }
  }

  public var heads: [Head]
  /// Positions of a group of queries, and of keys; one of ``ShareRule/strides``.
  public var stride: Int
  /// Position of the chunk's first row, and its rows.
  public var firstPosition: Int
  public var rows: Int
  public var shape: AttentionShape

  public init(
    heads: [Head], stride: Int, firstPosition: Int, rows: Int, shape: AttentionShape
  ) {
    self.heads = heads
    self.stride = stride
    self.firstPosition = firstPosition
    self.rows = rows
    self.shape = shape
  }

  /// Blocks of queries that the chunk touches, and blocks of keys up to its last row.
  public var queryBlocks: Int { keyBlocks - firstPosition / ShareRule.blockSize }
  public var keyBlocks: Int { (firstPosition + rows - 1) / ShareRule.blockSize + 1 }
}

extension KeyValueLayer {
  /// Throws unless these arguments of
  /// ``EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:stride:)`` fit together.
  package func requireBlockShares(
    _ q: Tensor, _ firstPosition: Int, _ shape: AttentionShape, _ heads: [Int], stride: Int
  ) throws {
    try require(
      q.shape == [q.rows, shape.queryHeads, shape.headDim] && q.rows > 0 && firstPosition >= 0
        && firstPosition + q.rows <= count && !heads.isEmpty
        && heads.allSatisfy { (0..<shape.queryHeads).contains($0) }
        && ShareRule.strides.contains(stride), "blockShares",
      "q \(q.shape) from position \(firstPosition), \(count) keys, heads \(heads), "
        + "stride \(stride)")
  }
}

/// The key blocks of a chunk, chosen on a device as its queries come: nothing of their size comes to
/// the host.
public protocol ResidentBlockChoice: AnyObject, Sendable {
  var request: ShareRequest { get }

  /// Chooses for the rows that follow those already added.
  ///
  /// - Parameters:
  ///   - q: [rows, queryHeads, headDim], after rotary.
  ///   - position: Of row 0: the chunk's first, or a multiple of 128.
  ///   - layer: Keys up to the last of these rows are written.
  func add(_ q: Tensor, firstPosition position: Int, layer: KeyValueLayer) throws
}

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
  public let stride: Int
  public let queryBlocks: Int
  public let keyBlocks: Int

  public init(heads: Int, stride: Int, firstPosition: Int, rows: Int) {
    self.heads = heads
    self.stride = stride
    keyBlocks = (firstPosition + rows - 1) / ShareRule.blockSize + 1
    queryBlocks = keyBlocks - firstPosition / ShareRule.blockSize
  }

  /// Groups of a block.
  public var groupsOfBlock: Int { ShareRule.blockSize / stride }
  /// Tiles of key groups, and entries of a row of sums.
  public var keyTiles: Int { (keyBlocks * groupsOfBlock + Self.scoreTile - 1) / Self.scoreTile }
  public var sumStride: Int { keyTiles * stride }
  /// 32-bit words of a query block's bits.
  public var words: Int { (keyBlocks + 31) / 32 }

  /// Query blocks whose sums are made at a time: whole tiles of query groups.
  public var blocksAtOnce: Int {
    let bytesOfBlock = max(1, heads * groupsOfBlock * (sumStride + keyTiles) * 4)
    return min(queryBlocks, max(stride, Self.sumBytes / bytesOfBlock / stride * stride))
  }

  /// Steps that a head's list has room for: two tiles a block.
  public var stepCapacity: Int {
    let first = keyBlocks - queryBlocks
    let everything = queryBlocks * (2 * first + queryBlocks + 1)
    return max(1, min(everything, Self.listBytes / 4 / max(1, heads)))
  }

  /// Bytes of all that is on the device at once.
  public var bytes: Int {
    let sums = blocksAtOnce * groupsOfBlock * (sumStride + keyTiles) * 4
    return heads * (sums + queryBlocks * (words * 4 + 3 * 8 + 2 * 4) + stepCapacity * 4)
  }
}
