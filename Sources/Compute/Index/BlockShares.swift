/// What the shares of key blocks are made of.
public enum ShareSource: Sendable, Hashable {
  /// Scores of antidiagonals: of groups of `stride` queries and keys, and of every `queryStride` groups of queries
  /// the last one alone. Source: XAttention (arXiv 2503.16428), section 2.1, which is a query stride of 1.
  case antidiagonals(stride: Int, queryStride: Int)
  /// Products of the means of groups of `size` queries and `size` keys. Source: FlexPrefill (arXiv 2502.20766),
  /// section 3.2, where a group is a block of 128; smaller groups lose less and cost more.
  case means(size: Int)

  /// The strides of antidiagonals that backends have.
  public static let strides = [8, 16]
  /// The strides over groups of queries that backends have.
  public static let queryStrides = [1, 2, 4]
  /// The sizes of groups whose means backends score.
  public static let meanSizes = [16, 128]

  /// Whether backends have it.
  public var isSupported: Bool {
    switch self {
    case .antidiagonals(let stride, let queryStride):
      Self.strides.contains(stride) && Self.queryStrides.contains(queryStride)
    case .means(let size): Self.meanSizes.contains(size)
    }
  }

  /// Positions of a group.
  package var stride: Int {
    switch self {
    case .antidiagonals(let stride, _): stride
    case .means(let size): size
    }
  }

  /// Of so many groups of queries the last is scored.
  package var queryStride: Int {
    if case .antidiagonals(_, let queryStride) = self { queryStride } else { 1 }
  }

  /// Scored groups of queries of a block.
  package var scoredGroupsOfBlock: Int { ShareRule.blockSize / stride / queryStride }

  /// The positions of the scored group `index` of queries, counted from position 0.
  package func positions(ofScoredGroup index: Int) -> Range<Int> {
    let group = queryStride * index + queryStride - 1
    return group * stride..<(group + 1) * stride
  }
}

/// The rule by which key blocks are chosen from their shares of a query block's attention.
///
/// Blocks are taken in descending order of their shares, the lower one first of equal ones, until
/// those taken hold ``share`` of all; ``floor``, ``least`` and ``cap`` bound their number. The first block and
/// the query's own are taken besides. Source: XAttention (arXiv 2503.16428), section 2.2; floor, least and
/// cap are additions of this package.
public struct ShareRule: Sendable, Hashable {
  /// The share that the blocks taken hold, 0 ... 1; 1 takes every block.
  public var share: Float
  /// The part of the blocks up to the query's own that is taken at least, 0 ... 1, rounded up.
  public var floor: Float
  /// The part that is taken at most, rounded up.
  public var cap: Float
  /// So many blocks are taken at least, where there are as many; ``cap`` comes after it.
  public var least: Int

  public init(share: Float, floor: Float = 0, cap: Float = 1, least: Int = 0) {
    self.share = share
    self.floor = floor
    self.cap = cap
    self.least = least
  }

  /// Query rows and keys of a block; blocks lie at absolute multiples.
  public static let blockSize = 128

  /// A share as an integer: sums are exact, and the order does not hang on how they are added up.
  static let unit: Float = 1_073_741_824

  /// The key blocks that one query block takes, ascending. All of them where no share is positive: the block was not
  /// scored.
  ///
  /// - Parameter shares: Of the blocks up to the query's own, which is the last.
  /// - Complexity: O(n log n).
  public func blocks(_ shares: ArraySlice<Float>) -> [Int32] {
    let count = shares.count
    guard count > 0 else { return [] }
    let keys = shares.map { $0 > 0 ? UInt64(min($0, 1) * Self.unit + 0.5) : 0 }
    guard keys.contains(where: { $0 > 0 }) else { return (0..<Int32(count)).map { $0 } }
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
    wanted = min(max(wanted, part(floor), min(least, count)), part(cap))
    return Set(order[..<wanted] + [0, count - 1]).sorted().map(Int32.init)
  }
}

/// What the key blocks of a layer's chunk are chosen by, for all heads that share a source.
public struct ShareRequest: Sendable {
  /// One head whose blocks are chosen.
  public struct Head: Sendable, Hashable {
    /// Query head.
    public var head: Int
    public var rule: ShareRule
    /// So many columns with the most mass in the chunk's last rows are computed besides.
    public var columns: Int
    /// Rows at this position and after it see every key; a multiple of 128; nil: none.
    public var denseFrom: Int?
    /// What is computed in place of the blocks where the chunk's last rows do not attend as the shares say; nil: the
    /// blocks are computed in any case. Asks for a source that scores one group of queries a block, and no ``columns``.
    public var alternative: BandAlternative?

    public init(
      head: Int, rule: ShareRule, columns: Int = 0, denseFrom: Int? = nil,
      alternative: BandAlternative? = nil
    ) {
      self.head = head
      self.rule = rule
      self.columns = columns
      self.denseFrom = denseFrom
      self.alternative = alternative
    }
  }

  public var heads: [Head]
  public var source: ShareSource
  /// Position of the chunk's first row, and its rows.
  public var firstPosition: Int
  public var rows: Int
  public var shape: AttentionShape

  public init(
    heads: [Head], source: ShareSource, firstPosition: Int, rows: Int, shape: AttentionShape
  ) {
    self.heads = heads
    self.source = source
    self.firstPosition = firstPosition
    self.rows = rows
    self.shape = shape
  }

  /// Blocks of queries that the chunk touches, and blocks of keys up to its last row.
  public var queryBlocks: Int { keyBlocks - firstPosition / ShareRule.blockSize }
  public var keyBlocks: Int { (firstPosition + rows - 1) / ShareRule.blockSize + 1 }
  /// Whether some head may compute columns and offsets in place of its blocks.
  public var hasAlternatives: Bool { heads.contains { $0.alternative != nil } }
}

extension KeyValueLayer {
  /// Throws unless these arguments of
  /// ``EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:source:)`` fit together.
  package func requireBlockShares(
    _ q: Tensor, _ firstPosition: Int, _ shape: AttentionShape, _ heads: [Int],
    _ source: ShareSource
  ) throws {
    try require(
      q.shape == [q.rows, shape.queryHeads, shape.headDim] && q.rows > 0 && firstPosition >= 0
        && firstPosition + q.rows <= count && !heads.isEmpty
        && heads.allSatisfy { (0..<shape.queryHeads).contains($0) } && source.isSupported,
      "blockShares",
      "q \(q.shape) from position \(firstPosition), \(count) keys, heads \(heads), "
        + "\(source)")
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
