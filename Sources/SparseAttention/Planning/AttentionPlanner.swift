public import Compute

/// Makes the ``Compute/SparseIndex`` of every (layer, chunk) from the heads' patterns.
///
/// A pure value. The index of a (layer, chunk) depends on that layer's keys and the chunk's queries
/// and on nothing else (static patterns also on their own first chunk), so the order in which layers
/// and chunks are run does not matter.
public struct AttentionPlanner: Sendable {
  /// The pattern of every head.
  public let configuration: PatternConfiguration
  /// The paper's rules as they are: no crossover, no fallback to dense for cost.
  public let exact: Bool
  public let costModel: SparseCostModel
  /// Whether a device may let the tiles that hold offsets begin at any key (`IndexRequest.freeBands`).
  /// Without it all devices of one tile compute the same pairs.
  package var freeBands = true
  /// Whether budgets grow with the length of the prompt, by the factor that dual chunk attention
  /// sharpens attention with.
  package var scalesBudgets = false

  /// Rows of a block of pooled queries.
  public static let poolingBlock = BlockSparse.blockSize

  /// Rows are cut at multiples of this, so that no block of queries is split.
  public var queryBlock: Int {
    configuration.patterns.joined().contains { $0.needs.blockShares != nil }
      ? ShareRule.blockSize : Self.poolingBlock
  }

  /// - Parameter configuration: one that fits the model
  ///   (``PatternConfiguration/validated(layers:heads:)``).
  public init(
    configuration: PatternConfiguration, exact: Bool = false,
    costModel: SparseCostModel = SparseCostModel()
  ) {
    self.configuration = configuration
    self.exact = exact
    self.costModel = costModel
  }

  /// The same planner for a model of this shape.
  ///
  /// - Throws: `PatternError` where the patterns do not fit it.
  public func validated(layers: Int, heads: Int) throws -> AttentionPlanner {
    var planner = AttentionPlanner(
      configuration: try configuration.validated(layers: layers, heads: heads), exact: exact,
      costModel: costModel)
    planner.freeBands = freeBands
    planner.scalesBudgets = scalesBudgets
    return planner
  }

  /// The planner with budgets multiplied by this factor; the same planner if budgets do not grow with the
  /// prompt.
  package func scaled(by factor: Double) -> AttentionPlanner {
    guard scalesBudgets else { return self }
    var planner = AttentionPlanner(
      configuration: configuration.scalingBudgets(by: factor), exact: exact, costModel: costModel)
    planner.freeBands = freeBands
    return planner
  }

  /// The pattern of a head.
  public func pattern(layer: Int, head: Int) -> HeadPattern {
    configuration.patterns[layer][head]
  }

  /// Whether some head of the layer is estimated from the chunk's last rows.
  public func needsEstimate(layer: Int) -> Bool {
    configuration.patterns[layer].contains(where: \.needsLastRowSums)
  }

  /// Whether some head of the layer is estimated from pooled queries.
  public func needsPooledQueries(layer: Int) -> Bool {
    configuration.patterns[layer].contains(where: \.needsPooledQueries)
  }

  /// Whether some head of the layer needs all queries of this chunk; false where the chunk is dense.
  public func needsAllQueries(layer: Int, firstPosition: Int, rows: Int) -> Bool {
    let keys = firstPosition + rows
    return wholeChunkReason(keys: keys, rows: rows) == nil
      && configuration.patterns[layer].contains {
        $0.selector.needs(keys: keys, isKept: false).allQueries
      }
  }

  /// The number of first and nearest keys that some head always computes: recall is sampled beyond.
  public var sinkAndWindow: Int {
    configuration.patterns.joined().reduce(0) { max($0, $1.sinkAndWindow) }
  }

  /// The index of one (layer, chunk), and its report: as
  /// ``planIndex(layer:_:backend:memory:needsHostIndex:)``, but waits for a device that builds the index.
  public func makeIndex(
    layer: Int, _ chunk: ChunkInputs, backend: any Backend, memory: SelectionMemory,
    needsHostIndex: Bool = false
  ) throws -> (index: SparseIndex, report: IndexReport) {
    let planned = try planIndex(
      layer: layer, chunk, backend: backend, memory: memory, needsHostIndex: needsHostIndex)
    return (planned.index, try planned.report())
  }

  /// The index of one (layer, chunk). Returns before a device has built it.
  ///
  /// - Parameters:
  ///   - memory: The sequence's memory for static patterns.
  ///   - needsHostIndex: Whether the host makes the index even where the backend could build it: its row sets are
  ///     read, or parts of it are wanted (``Compute/SparseIndex/restricted(toKeys:)``).
  /// - Throws: ``Compute/ComputeError`` if the inputs do not fit together, and what the backend
  ///   throws.
  public func planIndex(
    layer: Int, _ chunk: ChunkInputs, backend: any Backend, memory: SelectionMemory,
    needsHostIndex: Bool = false
  ) throws -> PlannedIndex {
    if !needsHostIndex,
      let made = try makeResidentIndex(layer: layer, chunk, backend: backend, memory: memory)
    {
      return made
    }
    let (index, report) = try makeHostIndex(layer: layer, chunk, backend: backend, memory: memory)
    return PlannedIndex(index: .tiles(index), report: report)
  }

  /// The index of one (layer, chunk), made on the host whatever the backend could build.
  ///
  /// - Throws: As ``planIndex(layer:_:backend:memory:needsHostIndex:)``.
  public func makeHostIndex(
    layer: Int, _ chunk: ChunkInputs, backend: any Backend, memory: SelectionMemory
  ) throws -> (index: TileIndex, report: IndexReport) {
    let clock = ContinuousClock()
    let start = clock.now
    let (selections, estimation) = try select(
      layer: layer, chunk, backend: backend, memory: memory)
    var (index, report) = try build(
      selections, chunk, tile: backend.tileShape(headDim: chunk.shape.headDim))
    report.estimationSeconds = estimation.inSeconds
    report.seconds = (clock.now - start).inSeconds
    return (index, report)
  }

  /// The heads that are dense, with the reason in words, where a whole chunk is dense and nothing
  /// needs to be estimated; nil: the chunk has to be planned.
  public func fallbacksOfDenseChunk(layer: Int, keys: Int, rows: Int) -> [Int: String]? {
    guard let reason = wholeChunkReason(keys: keys, rows: rows) else { return nil }
    let sparse = configuration.patterns[layer].indices.filter {
      configuration.patterns[layer][$0] != .dense
    }
    return Dictionary(uniqueKeysWithValues: sparse.map { ($0, reason.description) })
  }

  /// Why all heads of a chunk are dense; nil: they need not be.
  func wholeChunkReason(keys: Int, rows: Int) -> DenseReason? {
    if rows < VerticalSlashRule.lastRows { return .fewRows(rows) }
    if !exact, keys < costModel.denseBelow {
      return .fewKeys(keys, crossover: costModel.denseBelow)
    }
    return nil
  }
}
