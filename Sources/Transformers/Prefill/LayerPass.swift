import Compute
import SparseAttention

/// One decoder layer over one chunk of rows, a block of rows at a time.
///
/// The rows are passed over twice, since estimation needs the chunk's last queries and all of its
/// keys before attention of the first row can begin. The first pass stores keys and values, and makes the
/// queries where estimation needs all of them; then the index is made; the second pass computes attention
/// and feed-forward and adds them to the hidden states. Between two calls of ``advance(measuring:visit:)`` the pass can rest for any time.
struct LayerPass {
  /// What all passes over one text share.
  struct Context {
    let model: Transformer
    let plan: ChunkPlan
    let rotary: RotaryEmbedding
    /// For at least as many rows as the plan's blocks have.
    let workspace: RowWorkspace
    /// Fitted to the model; nil: dense.
    var planner: AttentionPlanner?
    /// What the planner's budgets mean in a chunk.
    var chunkBudgets = ChunkBudgets.whole
    let selectionMemory: SelectionMemory
    /// Whether queries that estimation has made are kept for attention, [rows of the chunk, queryHeads,
    /// headDim], or made again.
    var keepsQueries = true
    var injection: (any QueryKeyInjection)?
    /// Looks at a head of one layer, whose index is made on the host then.
    var observer: HeadObserver?
    /// Counts the time of the linear layers.
    var linearWatch: (any WorkStopwatch)?
    /// Asked before every block of rows; true ends the pass with `CancellationError`.
    var isCancelled: () -> Bool
  }

  /// The rows whose attention and feed-forward are computed.
  enum OutputRows {
    case all
    /// The chunk's last row alone, densely, as decoding does it.
    case last
    /// None, but queries are made for those who visit them.
    case noneButQueries
    /// None: keys and values are stored.
    case none
  }

  /// Gets the queries of each block of rows, [rows, queryHeads, headDim], and the hidden states
  /// before attention, [rows, hidden]; both are valid during the call.
  typealias Visit = (_ rows: Range<Int>, _ q: Tensor, _ hidden: Tensor) throws -> Void

  private enum Stage {
    /// The number of the block whose keys and values are stored next.
    case storing(block: Int)
    case indexing
    /// The number of the block whose outputs are computed next.
    case attending(ChunkIndex, block: Int)
    /// Queries are made for those who visit them.
    case visiting(block: Int)
    case finished
  }

  /// The index of the chunk, and what it computes.
  private struct ChunkIndex {
    let whole: SparseIndex
    /// Parts of it, for dual chunk attention.
    let regions: RegionIndices
    /// Pairs of all heads; a guess while a device counts them.
    let computedPairs: Int
  }

  let layer: Int
  /// Positions of the chunk's rows.
  let chunk: Range<Int>
  /// [rows of the chunk, hidden]; changed in place.
  let hidden: Tensor
  /// Open up to the chunk's last row.
  let keysAndValues: KeyValueLayer
  let outputRows: OutputRows
  private let context: Context
  private let shape: AttentionShape
  private let storedBlocks: [Range<Int>]
  /// Rows of one block have the same regions of dual chunk attention.
  private let attendedBlocks: [Range<Int>]
  /// Causal pairs of one head.
  private let causalPairs: Int
  /// What selectors see of all queries of the chunk; nil: nothing.
  private var sketch: QuerySketch?
  /// [rows of the chunk, queryHeads, headDim]: queries, and then, in their place, attention outputs; nil:
  /// they are made again block by block.
  private let queries: Tensor?
  private var stage = Stage.storing(block: 0)

  /// - Throws: out of memory.
  init(
    _ context: Context, layer: Int, chunk: Range<Int>, hidden: Tensor,
    keysAndValues: KeyValueLayer, outputRows: OutputRows
  ) throws {
    let decoder = context.model.decoder
    var context = context
    if outputRows != .all || context.model.computesWholeWindow(layer: layer) {
      context.planner = nil
    }
    if context.chunkBudgets == .proportional, let end = context.plan.chunks.last?.upperBound {
      context.planner = context.planner?.proportional(
        layer: layer, keys: chunk.upperBound, of: end)
    }
    self.context = context
    self.layer = layer
    self.chunk = chunk
    self.hidden = hidden
    self.keysAndValues = keysAndValues
    self.outputRows = outputRows
    shape = decoder.attention[layer]
    storedBlocks = context.plan.rowBlocks(of: chunk)
    attendedBlocks = storedBlocks.flatMap { decoder.dualChunk?.cut($0) ?? [$0] }
    causalPairs = SparseIndex.causalPairs(
      firstPosition: chunk.lowerBound, rows: chunk.count, slidingWindow: shape.slidingWindow)
    if let planner = context.planner {
      sketch = try QuerySketch(
        planner, layer: layer, backend: context.model.backend, shape: shape,
        firstPosition: chunk.lowerBound, rows: chunk.count,
        needsHostIndex: context.observer?.layer == layer)
    } else {
      sketch = nil
    }
    queries =
      sketch != nil && context.keepsQueries
      ? try context.model.backend.makeTensor(
        context.model.backend.activationType, [chunk.count, shape.queryHeads, shape.headDim],
        purpose: "the queries of a chunk of \(chunk.count) tokens") : nil
  }

  var isFinished: Bool {
    if case .finished = stage { return true }
    return false
  }

  /// Does the next block of rows, or makes the index.
  ///
  /// - Throws: `CancellationError`, what `visit` and the progress callback throw, `ComputeError`. The
  ///   pass cannot go on then.
  mutating func advance(
    measuring measurements: inout PrefillMeasurements, visit: Visit = { _, _, _ in }
  ) throws {
    switch stage {
    case .storing(let block):
      try storeKeysAndValues(of: storedBlocks[block], measuring: &measurements)
      stage = block + 1 < storedBlocks.count ? .storing(block: block + 1) : .indexing
    case .indexing:
      switch outputRows {
      case .all:
        stage = .attending(try makeIndex(measuring: &measurements), block: 0)
      case .last:
        measurements.skipOutputs(rows: chunk.count, causalPairs: causalPairs * shape.queryHeads)
        try addLastRow(measuring: &measurements)
        stage = .finished
      case .noneButQueries:
        measurements.skipOutputs(rows: chunk.count, causalPairs: causalPairs * shape.queryHeads)
        stage = .visiting(block: 0)
      case .none:
        measurements.skipOutputs(rows: chunk.count, causalPairs: causalPairs * shape.queryHeads)
        stage = .finished
      }
    case .attending(let index, let block):
      let rows = attendedBlocks[block]
      try addOutputs(of: rows, index: index, measuring: &measurements, visit: visit)
      stage =
        block + 1 < attendedBlocks.count ? .attending(index, block: block + 1) : .finished
    case .visiting(let block):
      try checkCancellation()
      let rows = attendedBlocks[block]
      let hidden = hidden(of: rows)
      try visit(
        rows, computation(of: rows).queries(of: hidden, firstPosition: rows.lowerBound), hidden)
      stage = block + 1 < attendedBlocks.count ? .visiting(block: block + 1) : .finished
    case .finished: break
    }
  }
}

// MARK: Keys, values and the index

extension LayerPass {
  private mutating func storeKeysAndValues(
    of rows: Range<Int>, measuring measurements: inout PrefillMeasurements
  ) throws {
    try checkCancellation()
    let computation = computation(of: rows)
    try computation.storeKeysAndValues(
      of: hidden(of: rows), in: keysAndValues, firstPosition: rows.lowerBound)
    if queries != nil {
      _ = try computation.queriesOfStoredRows(firstPosition: rows.lowerBound)
    } else if sketch != nil {
      // Queries that only estimation needs are a part of its time.
      try measurements.indexWatch.time {
        try sketch?.add(
          computation.queriesOfStoredRows(firstPosition: rows.lowerBound),
          firstPosition: rows.lowerBound, layer: keysAndValues)
      }
    }
    try measurements.storedRows(rows.count)
  }

  private mutating func makeIndex(
    measuring measurements: inout PrefillMeasurements
  ) throws -> ChunkIndex {
    let (index, computedPairs) = try planIndex(measuring: &measurements)
    sketch = nil
    let regions = RegionIndices(index, areCut: !context.model.backend.capabilities.buildsIndices)
    return ChunkIndex(whole: index, regions: regions, computedPairs: computedPairs)
  }

  /// The index of the chunk and the pairs of all heads, which are a guess while a device counts them.
  private mutating func planIndex(
    measuring measurements: inout PrefillMeasurements
  ) throws -> (SparseIndex, computedPairs: Int) {
    let backend = context.model.backend
    let fallbacks = context.planner?.fallbacksOfDenseChunk(
      layer: layer, keys: chunk.upperBound, rows: chunk.count)
    measurements.addFallbacks(fallbacks ?? [:], layer: layer, chunk: chunk)
    guard let planner = context.planner, fallbacks == nil else {
      let index = try SparseIndex.dense(
        firstPosition: chunk.lowerBound, rows: chunk.count, heads: shape.queryHeads,
        tile: backend.tileShape(headDim: shape.headDim))
      let pairs = Array(repeating: causalPairs, count: shape.queryHeads)
      return (
        index, measurements.planned(layer: layer, computedPairs: pairs, causalPairs: causalPairs)
      )
    }
    try checkCancellation()
    let planned = try measurements.indexWatch.time {
      // Kept queries are looked at all at once: fewer and larger launches.
      if let queries {
        try sketch?.add(queries, firstPosition: chunk.lowerBound, layer: keysAndValues)
      }
      let inputs = ChunkInputs(
        shape: shape, layer: keysAndValues, firstPosition: chunk.lowerBound, rows: chunk.count,
        lastRows: try lastQueries(), estimates: sketch?.estimates)
      return try planner.planIndex(
        layer: layer, inputs, backend: backend, memory: context.selectionMemory,
        needsHostIndex: context.observer?.layer == layer)
    }
    return try measurements.planned(
      planned,
      RecallGuard.Chunk(
        layer: layer, positions: chunk, hidden: hidden, keysAndValues: keysAndValues, shape: shape,
        patterns: planner.configuration.patterns[layer], index: planned.index,
        causalPairs: causalPairs),
      makeComputation: computation(rows:))
  }

  /// Queries of the chunk's last rows, as estimation looks at them.
  private func lastQueries() throws -> Tensor {
    let last =
      max(chunk.lowerBound, chunk.upperBound - VerticalSlashRule.lastRows)..<chunk.upperBound
    if let queries { return queries.slice(rows: rowsOfChunk(last)) }
    return try computation(rows: last.count)
      .queries(of: hidden(of: last), firstPosition: last.lowerBound)
  }
}

// MARK: Attention and feed-forward

extension LayerPass {
  private func addOutputs(
    of rows: Range<Int>, index: ChunkIndex, measuring measurements: inout PrefillMeasurements,
    visit: Visit
  ) throws {
    try checkCancellation()
    let computation = computation(of: rows)
    let hidden = hidden(of: rows)
    let regions = context.model.decoder.dualChunk?.regions(ofRowsFrom: rows.lowerBound) ?? []
    if regions.count > 1 {
      try attend(
        rows, hidden: hidden, computation: computation, regions: regions, indices: index.regions,
        measuring: &measurements)
    } else {
      try attend(
        rows, hidden: hidden, computation: computation, index: index.whole,
        measuring: &measurements,
        visit: visit)
    }
    try computation.addAttentionOutput(to: hidden)
    try computation.addFeedForward(to: hidden)
    let share =
      Double(
        SparseIndex.causalPairs(
          firstPosition: rows.lowerBound, rows: rows.count, slidingWindow: shape.slidingWindow))
      / Double(causalPairs)
    try measurements.finishedRows(rows.count, pairs: share * Double(index.computedPairs))
  }

  /// Attention of a block of rows. The output stands where the queries stood.
  private func attend(
    _ rows: Range<Int>, hidden: Tensor, computation: LayerComputation, index: SparseIndex,
    measuring measurements: inout PrefillMeasurements, visit: Visit
  ) throws {
    let backend = context.model.backend
    let q =
      try queries == nil
      ? computation.queries(of: hidden, firstPosition: rows.lowerBound) : computation.workspace.q
    try visit(rows, q, hidden)
    if let observer = context.observer, observer.layer == layer {
      try observer.add(
        rows, q: q, keysAndValues: keysAndValues, shape: shape, index: index, backend: backend)
    }
    try measurements.attend(
      rows, q: q, layer: layer, shape: shape, keysAndValues: keysAndValues, index: index
    ) { logSumExp in
      try backend.attention(
        q: q, firstPosition: rows.lowerBound, layer: keysAndValues, shape: shape, index: index,
        into: q, logSumExp: logSumExp)
    }
  }

  /// The same where dual chunk attention turns the queries differently for several regions of keys.
  /// Recall is not sampled there.
  private func attend(
    _ rows: Range<Int>, hidden: Tensor, computation: LayerComputation,
    regions: [DualChunk.Region], indices: RegionIndices,
    measuring measurements: inout PrefillMeasurements
  ) throws {
    let backend = context.model.backend
    let q =
      try queries == nil
      ? computation.queries(of: hidden, firstPosition: rows.lowerBound) : computation.workspace.q
    try measurements.kernelWatch.time {
      try computation.attend(q, firstPosition: rows.lowerBound, regions: regions) {
        q, region, o, logSumExp in
        try backend.attention(
          q: q, firstPosition: rows.lowerBound, layer: keysAndValues, shape: shape,
          index: try indices.index(of: region), into: o, logSumExp: logSumExp)
      }
    }
  }

  /// The outputs of the chunk's last row.
  private func addLastRow(measuring measurements: inout PrefillMeasurements) throws {
    let last = chunk.upperBound - 1
    let computation = computation(rows: 1)
    let row = hidden(of: last..<last + 1)
    try measurements.kernelWatch.time {
      try computation.attendRow(
        row, position: last, keysAndValues: keysAndValues, shape: shape,
        dualChunk: context.model.decoder.dualChunk)
    }
    try computation.addAttentionOutput(to: row)
    try computation.addFeedForward(to: row)
    measurements.attendedRow(
      layer: layer, pairs: last + 1 - shape.firstKey(visibleFrom: last))
  }
}

// MARK: Rows

extension LayerPass {
  /// What computes a block of the chunk's rows, with their place among the kept queries.
  private func computation(of rows: Range<Int>) -> LayerComputation {
    guard let queries else { return computation(rows: rows.count) }
    return computation(
      context.workspace.prefix(queries: queries.slice(rows: rowsOfChunk(rows))))
  }

  /// What computes so many rows beside those that are kept.
  private func computation(rows: Int) -> LayerComputation {
    computation(context.workspace.prefix(rows))
  }

  private func computation(_ workspace: RowWorkspace) -> LayerComputation {
    LayerComputation(
      backend: context.model.backend, configuration: context.model.decoder,
      layer: context.model.weights[layer], rotary: context.rotary, workspace: workspace,
      injection: context.injection, linearWatch: context.linearWatch)
  }

  private func hidden(of rows: Range<Int>) -> Tensor { hidden.slice(rows: rowsOfChunk(rows)) }

  private func rowsOfChunk(_ positions: Range<Int>) -> Range<Int> {
    positions.lowerBound - chunk.lowerBound..<positions.upperBound - chunk.lowerBound
  }

  private func checkCancellation() throws {
    if context.isCancelled() { throw CancellationError() }
  }
}
