public import Compute
import SparseAttention

/// One reading of a prompt, which can rest after every block of rows.
///
/// Chunk by chunk, within a chunk layer by layer, within a layer block by block. Beyond the cache only
/// the hidden states grow with the chunk; all else is bounded by the block.
///
/// A run may be left alone for any time between two calls of ``advance()``, and may be dropped at any
/// time: the cache then holds the chunks that were finished, and nothing of the one that was not.
/// Nobody else may use the cache meanwhile. A run is used by one thread at a time.
///
/// A stage of a pipeline over layers reads with a cache of its own layers
/// (``Transformer/makeCache(capacity:keyValues:sequenceLength:chunk:planner:layers:)``). It gets the
/// hidden states of each chunk by ``supply(_:)``, unless it begins with the embedding, and gives them
/// on as ``Progress/chunk(_:hidden:)``. All stages cut the prompt in the same places if their options
/// and backends are the same.
public final class PrefillRun {
  /// What is read.
  public enum Input {
    /// Token ids, which are embedded; for a cache that begins with the first layer.
    case tokens([Int32])
    /// So many rows, whose hidden states ``supply(_:)`` gives.
    case hiddenStates(rows: Int)
  }

  /// What a call of ``advance()`` did.
  public enum Progress {
    /// A part of a layer of a chunk; there is more to do.
    case block
    /// The last part of a chunk, which is now in the cache. `hidden`: its hidden states behind the last
    /// layer of the cache, [rows, hidden]. If ``PrefillOptions/lastLayerLastRowOnly`` is set, only
    /// the prompt's last row is of use behind the model's last layer.
    case chunk(Range<Int>, hidden: Tensor)
    /// Everything is done, and ``report`` is complete.
    case finished
  }

  /// The chunks of the prompt, as consecutive ranges of positions.
  public var chunks: [Range<Int>] { context.plan.chunks }
  /// What was done; complete once ``advance()`` has given ``Progress/finished``.
  public var report: PrefillReport { measurements.report }
  /// How far the run has come.
  public var progress: PrefillProgress { measurements.currentProgress }
  /// The positions whose hidden states ``supply(_:)`` has to give before the next ``advance()``; nil
  /// if none are missing.
  public private(set) var awaitedChunk: Range<Int>?

  private let input: Input
  private let cache: KeyValueCache
  private let options: PrefillOptions
  /// Whether hidden states are wanted in every row, for the logits of every position.
  private let wantsAllRows: Bool
  private let context: LayerPass.Context
  private let positions: Range<Int>
  private var measurements: PrefillMeasurements
  private var seconds = 0.0
  private var nextChunk = 0
  private var current: Chunk?
  /// The layer that the chunk is in; nil between two.
  private var pass: LayerPass?
  /// The keys and values of that layer.
  private var opened: KeyValueCache.OpenLayer?
  private var state = State.running

  private enum State {
    case running
    case finished
    case failed(any Error)
  }

  /// The chunk that is on its way through the layers.
  private struct Chunk {
    let positions: Range<Int>
    let hidden: Tensor
    /// What static patterns had kept before it.
    let selections: SelectionMemory.Selections
    var nextLayer: Int
  }

  /// Plans the reading of tokens behind those that the cache holds.
  ///
  /// - Parameters:
  ///   - cache: Its layers are those that are run.
  ///   - wantsAllRows: Whether hidden states behind the last layer are wanted in every row, whatever
  ///     ``PrefillOptions/lastLayerLastRowOnly`` says.
  /// - Throws: ``TransformerError`` for what the model or the cache cannot take, before anything is
  ///   computed; out of memory.
  public init(
    _ model: Transformer, _ input: Input, cache: KeyValueCache,
    options: PrefillOptions = PrefillOptions(), wantsAllRows: Bool = false
  ) throws {
    try model.requireOneDevice("one run; make a reading")
    let rows: Int
    switch input {
    case .tokens(let ids):
      rows = ids.count
      try model.validate(ids, for: cache)
      guard cache.layers.lowerBound == 0 else {
        throw TransformerError.hiddenStates(problem: "are missing")
      }
    case .hiddenStates(let count):
      rows = count
      try model.validate(tokens: rows, for: cache)
    }
    self.input = input
    self.cache = cache
    self.options = options
    self.wantsAllRows = wantsAllRows
    let decoder = model.decoder
    let planner = try options.planner?.validated(
      layers: decoder.layers, heads: decoder.attention[0].queryHeads
    ).scaled(
      by: Double(
        decoder.dualChunk?.attentionScaling(
          forLength: cache.lengthOfSequence(adding: rows)) ?? 1))
    positions = cache.count..<cache.count + rows
    let wholePlan = try ChunkPlan(
      positions: positions, chunk: options.chunk, chunkEnds: options.chunkEnds,
      rowBlock: options.rowBlock ?? model.backend.rowBlock,
      tileRows: model.backend.tileShape(headDim: decoder.headDim).rows,
      poolingBlock: planner?.queryBlock ?? AttentionPlanner.poolingBlock)
    // Each chunk of dual chunk attention estimates with its own last rows, as the report has it.
    let plan = decoder.dualChunk.map { ChunkPlan(wholePlan, cutting: $0.chunks) } ?? wholePlan
    context = LayerPass.Context(
      model: model, plan: plan, rotary: model.rotaryEmbedding(of: cache, adding: rows),
      workspace: try RowWorkspace(
        rows: min(plan.rowBlock, plan.chunks.map(\.count).max() ?? 1), configuration: decoder,
        backend: model.backend),
      planner: planner, chunkBudgets: options.chunkBudgets ?? .whole,
      selectionMemory: cache.selectionMemory,
      keepsQueries: cache.memoryPlan?.keepsQueries ?? true, injection: options.injection,
      observer: options.observer,
      linearWatch: options.measuresLinearLayers ? model.backend.makeStopwatch() : nil,
      isCancelled: options.isCancelled)
    measurements = PrefillMeasurements(
      model, positions: positions, plan: plan, layers: cache.layers, planner: planner,
      options: options)
    awaitNextChunk()
    cache.isBeingFilled = true
  }

  deinit {
    guard case .running = state else { return }
    leaveCache()
  }

  /// Gives the hidden states of ``awaitedChunk``, [rows, hidden] in the backend's type of
  /// activations. They are changed in place.
  ///
  /// - Throws: ``TransformerError/hiddenStates(problem:)`` for a tensor that does not fit.
  public func supply(_ hidden: Tensor) throws {
    guard let awaitedChunk else {
      throw TransformerError.hiddenStates(problem: "were not asked for")
    }
    let shape = [awaitedChunk.count, context.model.decoder.hiddenSize]
    guard hidden.shape == shape, hidden.type == context.model.backend.activationType else {
      throw TransformerError.hiddenStates(
        problem: "are \(hidden.shape) of \(hidden.type.rawValue), not \(shape) of "
          + context.model.backend.activationType.rawValue)
    }
    begin(awaitedChunk, hidden: hidden)
  }

  /// Does the next part: one block of rows of one layer, or the index of a chunk in a layer.
  ///
  /// - Throws: `CancellationError`, what the progress callback throws, ``TransformerError``,
  ///   `ComputeError`. The run has ended then: the chunks that were finished are in the cache, and
  ///   further calls throw the same error.
  public func advance() throws -> Progress {
    switch state {
    case .finished: return .finished
    case .failed(let error): throw error
    case .running: break
    }
    do {
      let progress = try timed(advanceRunning)
      if case .finished = progress {
        try measurements.finish(
          seconds: seconds, injectionSeconds: options.injection?.seconds ?? 0,
          linearSeconds: context.linearWatch?.seconds)
        state = .finished
        leaveCache()
      }
      return progress
    } catch {
      state = .failed(error)
      leaveCache()
      throw error
    }
  }

  /// Does all that is left.
  ///
  /// - Parameter visit: Gets the hidden states and the positions of each chunk; its time is the
  ///   prefill's.
  /// - Throws: as ``advance()``, and what `visit` throws.
  func finishAlone(_ visit: (_ hidden: Tensor, _ chunk: Range<Int>) throws -> Void) throws {
    while true {
      switch try advance() {
      case .block: continue
      case .chunk(let positions, let hidden): try timed { try visit(hidden, positions) }
      case .finished: return
      }
    }
  }

  public func timed<Result>(_ work: () throws -> Result) rethrows -> Result {
    let start = ContinuousClock.now
    defer { seconds += (ContinuousClock.now - start).inSeconds }
    return try work()
  }
}

extension PrefillRun {
  private func advanceRunning() throws -> Progress {
    guard nextChunk < chunks.count else {
      try context.model.backend.finish()
      return .finished
    }
    let chunk = try current ?? embedNextChunk()
    guard cache.count == chunk.positions.lowerBound else { throw TransformerError.cacheInUse }
    if pass == nil { try begin(layer: chunk.nextLayer, of: chunk) }
    try pass?.advance(measuring: &measurements)
    guard pass?.isFinished ?? true else { return .block }
    pass = nil
    try opened?.close()
    opened = nil
    current?.nextLayer += 1
    guard chunk.nextLayer + 1 == cache.layers.upperBound else { return .block }
    cache.count = chunk.positions.upperBound
    try measurements.finishedChunk(tokens: chunk.positions.count)
    current = nil
    nextChunk += 1
    awaitNextChunk()
    return .chunk(chunk.positions, hidden: chunk.hidden)
  }

  private func awaitNextChunk() {
    guard case .hiddenStates = input, nextChunk < chunks.count else { return }
    awaitedChunk = chunks[nextChunk]
  }

  private func embedNextChunk() throws -> Chunk {
    guard case .tokens(let ids) = input else {
      throw TransformerError.hiddenStates(problem: "are missing")
    }
    let chunk = chunks[nextChunk]
    let model = context.model
    let hidden = try model.backend.makeTensor(
      model.backend.activationType, [chunk.count, model.decoder.hiddenSize],
      purpose: "the hidden states of a chunk of \(chunk.count) tokens")
    let rows = chunk.lowerBound - positions.lowerBound..<chunk.upperBound - positions.lowerBound
    try model.backend.embed(Array(ids[rows]), table: model.weights.requireEmbedding(), into: hidden)
    return begin(chunk, hidden: hidden)
  }

  @discardableResult
  private func begin(_ positions: Range<Int>, hidden: Tensor) -> Chunk {
    awaitedChunk = nil
    let chunk = Chunk(
      positions: positions, hidden: hidden, selections: cache.selectionMemory.selections,
      nextLayer: cache.layers.lowerBound)
    current = chunk
    return chunk
  }

  private func begin(layer: Int, of chunk: Chunk) throws {
    let opened = try cache.open(layer, count: chunk.positions.upperBound, for: .prefill)
    self.opened = opened
    pass = try LayerPass(
      context, layer: layer, chunk: chunk.positions, hidden: chunk.hidden,
      keysAndValues: context.model.withSinks(opened.keysAndValues, layer: layer),
      outputRows: outputRows(of: chunk, layer: layer))
  }

  private func outputRows(of chunk: Chunk, layer: Int) -> LayerPass.OutputRows {
    if layer < context.model.decoder.layers - 1 || wantsAllRows || !options.lastLayerLastRowOnly {
      return .all
    }
    return chunk.positions.upperBound == positions.upperBound ? .last : .none
  }

  /// Leaves the cache as the last chunk that was finished left it.
  private func leaveCache() {
    cache.isBeingFilled = false
    pass = nil
    opened = nil
    guard let chunk = current else { return }
    cache.selectionMemory.selections = chunk.selections
    current = nil
  }
}
