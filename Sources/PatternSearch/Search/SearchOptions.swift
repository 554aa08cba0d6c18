public import Compute
public import SparseAttention

/// A text that the search measures on.
public struct SearchSample: Sendable {
  /// Its name in reports.
  public var name: String
  public var ids: [Int32]

  public init(name: String, ids: [Int32]) {
    self.name = name
    self.ids = ids
  }
}

/// Options of a search by recall and time.
public struct SearchOptions: Sendable {
  public var space: CandidateSpace
  public var objective: SearchObjective
  /// Tokens of a chunk; nil: each text is one chunk. Rounded up to the backend's tile rows.
  public var chunk: Int?
  public var keyValueType: DataType?
  /// Single columns of one key tile from which on the tile is computed; nil: as the
  /// planner has it with the calibrated costs.
  public var columnsThatFillTile: Int?
  /// Chunks that see fewer keys are dense, as the planner has it.
  public var denseBelow: Int
  /// Lengths for the calibration; nil: up to a quarter of the longest sample, and to 8,192.
  public var calibrationLengths: [Int]?
  /// A file in which results are kept layer by layer, so that an interrupted search continues; nil: none.
  public var workFile: String?
  /// Called after every layer.
  public var progress: @Sendable (SearchProgress) throws -> Void
  /// Asked between blocks of rows and heads; true ends the search with `CancellationError`.
  public var isCancelled: @Sendable () -> Bool

  public init(
    space: CandidateSpace = .standard, objective: SearchObjective = .everyHead(RecallFloor()),
    chunk: Int? = nil, keyValueType: DataType? = nil, columnsThatFillTile: Int? = nil,
    denseBelow: Int = SparseCostModel().denseBelow,
    calibrationLengths: [Int]? = nil, workFile: String? = nil,
    progress: @escaping @Sendable (SearchProgress) throws -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) {
    self.space = space
    self.objective = objective
    self.chunk = chunk
    self.keyValueType = keyValueType
    self.columnsThatFillTile = columnsThatFillTile
    self.denseBelow = denseBelow
    self.calibrationLengths = calibrationLengths
    self.workFile = workFile
    self.progress = progress
    self.isCancelled = isCancelled
  }
}

/// How far a search has come.
public struct SearchProgress: Sendable, Equatable {
  /// What is being done: "calibration" or a sample's name.
  public let stage: String
  /// Share of the work, 0 to 1.
  public let fraction: Double
  /// Tokens of all samples.
  public let tokens: Int
}
