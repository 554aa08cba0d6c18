public import SparseAttention

/// How a sparse prefill watches what it loses while it runs.
public struct RecallMonitor: Sendable, Hashable {
  /// Heads of which less is kept are weak. The default is the recall below which answers begin to
  /// change in practice.
  public var floor: Double
  /// Whether weak heads are computed densely, in the chunk in which they are weak.
  public var computesWeakHeadsDensely: Bool

  public static let defaultFloor = 0.8

  public init(floor: Double = Self.defaultFloor, computesWeakHeadsDensely: Bool = false) {
    self.floor = floor
    self.computesWeakHeadsDensely = computesWeakHeadsDensely
  }

  /// One row is sampled for so many of a chunk: that bounds the cost of watching short chunks.
  private static let rowsPerSample = 128
  private static let mostSamples = 32

  /// The positions of a chunk that are watched, ascending and distinct: three of four spread over
  /// those at `first` and after it, the rest its last.
  package static func sampledRows(of chunk: Range<Int>, from first: Int) -> [Int] {
    let count = min(mostSamples, max(2, chunk.count / rowsPerSample))
    return RecallRows.positions(
      in: chunk, from: first, spread: count - max(1, count / 4), last: max(1, count / 4))
  }
}

/// What a monitor saw, what it did about it, and what that took.
public struct MonitorReport: Sendable {
  public let monitor: RecallMonitor
  /// Seconds of the prefill that watching took.
  public internal(set) var seconds = 0.0
  /// Estimated recall of what was computed: a weak head that was computed densely counts as kept
  /// whole. nil if no head was sparse.
  public internal(set) var recall: RecallSummary?
  /// The same for each head, [layer][head]; nil for heads that were dense by their pattern, and for
  /// those of which no sampled row lies beyond the keys that are always computed.
  public internal(set) var headRecalls: [[HeadRecall?]] = []
  /// In the order in which they were found.
  public internal(set) var weakHeads: [WeakHead] = []
  /// Pairs that were computed beside those that the patterns ask for.
  public internal(set) var extraPairs = 0
  /// What these took: their share of the kernel's time, counted by pairs. Nothing is computed twice,
  /// so it cannot be measured by itself.
  public internal(set) var extraSeconds = 0.0

  /// A head that kept less than the floor in one chunk.
  public struct WeakHead: Sendable, Hashable {
    public let layer: Int
    public let head: Int
    /// The chunk's first position.
    public let firstPosition: Int
    /// What its pattern keeps, over the sampled rows.
    public let recall: HeadRecall
    public let isComputedDensely: Bool
  }

  init(_ monitor: RecallMonitor) { self.monitor = monitor }
}
