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

  /// A kernel computes a row at the price of its tile, so rows are watched in groups within a tile,
  /// and one tile of so many.
  private static let tilesOfGroup = 50
  private static let mostGroups = 9
  private static let mostRowsOfGroup = 4
  /// Groups of a prompt's beginning, whatever they cost: keys are few there.
  private static let groupsOfFirstChunk = 4

  /// The positions of a chunk that are watched, ascending and distinct: groups of neighbours spread
  /// over those at `first` and after it, and, unless there is one group alone, the last rows.
  package static func sampledRows(
    of chunk: Range<Int>, from first: Int, tileRows: Int
  ) -> [Int] {
    let affordable = chunk.count / (tilesOfGroup * tileRows)
    let groups = min(
      mostGroups, max(chunk.lowerBound == 0 ? groupsOfFirstChunk : 1, affordable))
    let count = min(mostRowsOfGroup, max(1, chunk.count / 1024))
    var rows = RecallRows.positions(
      in: chunk, from: first, spread: max(1, groups - 1), last: 0
    ).flatMap { position in
      let tileEnd = min((position / tileRows + 1) * tileRows, chunk.upperBound)
      let start = max(chunk.lowerBound, min(position, tileEnd - count))
      return start..<min(start + count, tileEnd)
    }
    if groups > 1 { rows += max(chunk.lowerBound, chunk.upperBound - count)..<chunk.upperBound }
    return Set(rows).sorted()
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
    /// What its pattern keeps, over the chunk's sampled rows; where these are fewer than 16, over the
    /// latest 16 of the prompt.
    public let recall: HeadRecall
    public let isComputedDensely: Bool

    package init(
      layer: Int, head: Int, firstPosition: Int, recall: HeadRecall, isComputedDensely: Bool
    ) {
      self.layer = layer
      self.head = head
      self.firstPosition = firstPosition
      self.recall = recall
      self.isComputedDensely = isComputedDensely
    }
  }

  init(_ monitor: RecallMonitor) { self.monitor = monitor }

  /// What a monitor saw elsewhere.
  package init(
    _ monitor: RecallMonitor, seconds: Double, headRecalls: [[HeadRecall?]], weakHeads: [WeakHead],
    extraPairs: Int, extraSeconds: Double
  ) {
    self.monitor = monitor
    self.seconds = seconds
    self.headRecalls = headRecalls
    recall = RecallSummary(of: headRecalls)
    self.weakHeads = weakHeads
    self.extraPairs = extraPairs
    self.extraSeconds = extraSeconds
  }
}
