import Compute
import SparseAttention
import Synchronization
import Transformers

/// How hidden states leave a stage of this process.
enum StageOutlet: Sendable {
  /// To another device of this process.
  case link(any TensorLink)
  /// To another process, which is told of each tensor before it is sent.
  case process(any TensorOutlet, announce: @Sendable (_ ticket: Int, Tensor) throws -> Void)

  var name: String {
    switch self {
    case .link(let link): link.name
    case .process(let outlet, _): outlet.name
    }
  }
}

/// A stage on a device of this process.
final class LocalStage: StageRunner {
  let transformer: Transformer
  let name: String
  let outlet: StageOutlet?
  /// Where hidden states from another process arrive; nil: the stage before is in this one.
  private let inlet: (any TensorInlet)?
  private let tickets = Atomic<Int>(0)
  private let decoder: StageDecoder

  init(
    _ transformer: Transformer, name: String, outlet: StageOutlet?,
    inlet: (any TensorInlet)? = nil
  ) {
    self.transformer = transformer
    self.name = name
    self.outlet = outlet
    self.inlet = inlet
    decoder = StageDecoder(transformer)
  }

  var layers: Range<Int> { transformer.layers }
  var outletName: String? { outlet?.name }
  var notices: [String] { transformer.backend.notices }

  func plan(_ request: CacheRequest) throws -> KeyValueOptions? {
    try transformer.memoryPlan(
      tokens: request.capacity, chunk: request.chunk, wanted: request.keyValues,
      planner: request.planner, layers: layers.count)?.keyValues
  }

  func makeCache(_ request: CacheRequest) throws -> KeyValueCache {
    try transformer.makeCache(
      capacity: request.capacity, keyValues: request.keyValues,
      sequenceLength: request.sequenceLength, chunk: request.chunk, planner: request.planner,
      layers: layers)
  }

  func makeReading(
    _ request: ReadingRequest, cache: KeyValueCache, stage: Int
  ) throws -> any StageReading {
    var options = request.options
    let progress = request.progress
    options.progress = { try progress($0.fraction) }
    options.injection = options.stageInjections?[stage] ?? options.injection
    return LocalReading(
      try PrefillRun(
        transformer,
        layers.lowerBound == 0 ? .tokens(request.ids) : .hiddenStates(rows: request.ids.count),
        cache: cache, options: options, wantsAllRows: request.wantsAllRows),
      of: self, cache: cache)
  }

  func canPassTogether(_ caches: [KeyValueCache]) -> Bool {
    transformer.canDecodeTogether(caches)
  }

  func pass(
    tokens ids: [Int32], _ input: Carried?, caches: [KeyValueCache]
  ) throws -> Carried {
    let hidden = try input.map(receive) ?? transformer.embed(tokens: ids)
    try pass(tokens: hidden, caches: caches)
    return try send(hidden)
  }

  /// Passes hidden states of tokens, [tokens, hidden], through the stage's layers, in place.
  func pass(tokens hidden: Tensor, caches: [KeyValueCache]) throws {
    try decoder.pass(tokens: hidden, caches: caches)
  }

  func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer {
    try transformer.makeTransfer(layer: layer, of: cache, count: count, for: purpose)
  }

  func append(_ sources: [CachedRows], to target: KeyValueCache) throws {
    try transformer.append(sources, to: target)
  }

  func discard(_ carried: Carried) { _ = try? receive(carried) }

  func receive(_ carried: Carried) throws -> Tensor {
    switch carried {
    case .tensor(let tensor): return tensor
    case .ticket(let ticket):
      guard let inlet else { throw TransformerError.hiddenStates(problem: "have no way in") }
      return try inlet.take(ticket: ticket)
    }
  }

  /// What the last stage gives stays where it is.
  func send(_ hidden: Tensor) throws -> Carried {
    switch outlet {
    case nil: return .tensor(hidden)
    case .link(let link): return .tensor(try link.send(hidden))
    case .process(let outlet, let announce):
      let ticket = tickets.add(1, ordering: .relaxed).newValue
      try announce(ticket, hidden)
      try outlet.send(hidden, ticket: ticket)
      return .ticket(ticket)
    }
  }
}

/// One prompt in a stage of this process.
final class LocalReading: StageReading {
  let chunks: [Range<Int>]
  private(set) var report: PrefillReport
  private let stage: LocalStage
  private let cache: KeyValueCache
  /// nil once the reading has ended.
  private var run: PrefillRun?
  /// What static patterns had kept before each chunk.
  private var selections: [SelectionMemory.Selections] = []

  init(_ run: PrefillRun, of stage: LocalStage, cache: KeyValueCache) {
    self.run = run
    self.stage = stage
    self.cache = cache
    chunks = run.chunks
    report = run.report
  }

  func pass(
    chunk: Int, _ input: Carried?, isStopped: () -> Bool, sends: (_ byteCount: Int) -> Void
  ) throws -> Carried {
    let hidden = try pass(input, isStopped: isStopped)
    sends(hidden.byteCount)
    return try stage.send(hidden)
  }

  /// The hidden states behind the stage's layers.
  func pass(_ input: Carried?, isStopped: () -> Bool) throws -> Tensor {
    guard let run else { throw CancellationError() }
    selections.append(cache.keptSelections)
    if let input { try run.supply(try stage.receive(input)) }
    while true {
      if isStopped() { throw CancellationError() }
      if case .chunk(_, let hidden) = try run.advance() { return hidden }
    }
  }

  func finish() throws {
    guard let run, case .finished = try run.advance() else { throw PipelineError.differentChunks }
    report = run.report
  }

  func end(forgettingFrom chunk: Int?) {
    run = nil
    if let chunk, chunk < selections.count { cache.keptSelections = selections[chunk] }
  }
}
