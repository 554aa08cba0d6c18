import Compute
import SparseAttention

/// What a prefill measures of itself: seconds, pairs, progress and recall.
struct PrefillMeasurements {
  private(set) var report: PrefillReport
  /// Counts attention.
  let kernelWatch: any WorkStopwatch
  /// Counts estimating and building indices.
  let indexWatch: any WorkStopwatch
  /// Counts measuring recall, which is in no figure.
  private let recallWatch: any WorkStopwatch
  private let backend: any Backend
  private let progress: (@Sendable (PrefillProgress) throws -> Void)?
  private let tokens: Int
  private var meter: WorkMeter
  private var recall: RecallProbe?
  private var recallGuard: RecallGuard?

  /// - Parameters:
  ///   - positions: What is read.
  ///   - layers: The layers that it passes through.
  ///   - planner: Fitted to the model; nil: dense.
  init(
    _ model: Transformer, positions: Range<Int>, plan: ChunkPlan, layers: Range<Int>,
    planner: AttentionPlanner? = nil, options: PrefillOptions = PrefillOptions()
  ) {
    let decoder = model.decoder
    backend = model.backend
    progress = options.progress
    tokens = positions.count
    kernelWatch = backend.makeStopwatch()
    indexWatch = backend.makeStopwatch()
    recallWatch = backend.makeStopwatch()
    report = PrefillReport(layers: decoder.layers, heads: decoder.attention[0].queryHeads)
    report.reusedTokens = positions.lowerBound
    meter = WorkMeter(
      plan: plan, configuration: decoder, layers: layers, isSparse: planner != nil)
    guard let planner else { return }
    if let monitor = options.monitor {
      recallGuard = RecallGuard(monitor, configuration: decoder, backend: backend)
    }
    if options.measureRecall {
      recall = RecallProbe(
        positions: positions, sinkAndWindow: planner.sinkAndWindow, configuration: decoder)
    }
  }

  /// How far the prefill has come.
  var currentProgress: PrefillProgress {
    mutating get { PrefillProgress(fraction: meter.currentFraction(), tokens: tokens) }
  }

  private mutating func reportProgress() throws {
    try backend.limitWorkAhead()
    try progress?(currentProgress)
  }
}

// MARK: What a layer pass did

extension PrefillMeasurements {
  /// Reports that keys and values of `rows` rows are stored. Throws what the progress callback throws.
  mutating func storedRows(_ rows: Int) throws {
    meter.storedRows(rows)
    try reportProgress()
  }

  /// Removes attention and feed-forward of `rows` rows from the planned work.
  mutating func skipOutputs(rows: Int, causalPairs: Int) {
    meter.skipped(rows: rows, causal: causalPairs)
  }

  /// The index of a chunk is there.
  ///
  /// - Parameters:
  ///   - computedPairs: Of each head.
  ///   - causalPairs: Of one head.
  mutating func planned(layer: Int, computedPairs: [Int], causalPairs: Int) {
    for head in computedPairs.indices {
      report.computedPairs[layer][head] += computedPairs[head]
      report.causalPairs[layer][head] += causalPairs
    }
    meter.planned(
      computed: computedPairs.reduce(0, +), causal: causalPairs * computedPairs.count)
  }

  mutating func addFallbacks(_ reasons: [Int: String], layer: Int, chunk: Range<Int>) {
    report.denseFallbacks += reasons.sorted { $0.key < $1.key }.map {
      DenseFallback(
        layer: layer, head: $0.key, firstPosition: chunk.lowerBound, reason: $0.value)
    }
  }

  /// The index that a monitor lets through, and the pairs of each head.
  mutating func checkRecall(
    _ chunk: RecallGuard.Chunk, makeComputation: (_ rows: Int) -> LayerComputation
  ) throws -> (SparseIndex, computedPairs: [Int]) {
    try recallGuard?.check(chunk, makeComputation: makeComputation) ?? (
      chunk.index, chunk.computedPairs
    )
  }

  /// Counts the time of `attention`, and its recall where that is measured.
  ///
  /// - Parameters:
  ///   - q: The block's queries, which attention may overwrite.
  ///   - attention: Fills the log-sum-exps, [rows, queryHeads], if it gets a tensor for them.
  mutating func attend(
    _ rows: Range<Int>, q: Tensor, layer: Int, shape: AttentionShape,
    keysAndValues: KeyValueLayer, index: SparseIndex,
    attention: (_ logSumExp: Tensor?) throws -> Void
  ) throws {
    guard recall != nil else { return try kernelWatch.time { try attention(nil) } }
    let sample = try recallWatch.time {
      try recall?.sample(
        rows, q: q, layer: layer, shape: shape, keysAndValues: keysAndValues, index: index,
        backend: backend)
    }
    try kernelWatch.time { try attention(sample?.logSumExp) }
    guard let sample else { return }
    try recallWatch.time { try recall?.compare(sample, layer: layer) }
  }

  /// Attention of one row alone is done: so many pairs of each head.
  mutating func attendedRow(layer: Int, pairs: Int) {
    for head in report.computedPairs[layer].indices {
      report.computedPairs[layer][head] += pairs
      report.causalPairs[layer][head] += pairs
    }
  }

  /// Attention of so many pairs and the rest of so many rows are done. Throws what the progress
  /// callback throws.
  mutating func finishedRows(_ rows: Int, pairs: Double) throws {
    meter.finishedRows(rows, pairs: pairs)
    try reportProgress()
  }
}

// MARK: The whole prefill

extension PrefillMeasurements {
  mutating func finishedChunk(tokens: Int) {
    report.tokens += tokens
    report.chunks += 1
  }

  /// Completes the report.
  ///
  /// - Parameters:
  ///   - seconds: What the prefill took, with recall and injection.
  ///   - injectionSeconds: Are in no figure.
  mutating func finish(
    seconds: Double, injectionSeconds: Double, linearSeconds: Double?
  ) {
    report.kernelSeconds = kernelWatch.seconds
    report.indexSeconds = indexWatch.seconds
    report.seconds = seconds - recallWatch.seconds - injectionSeconds
    report.linearSeconds = linearSeconds
    report.recall = recall?.meter.summary
    report.headRecalls = recall?.meter.headRecalls
    report.monitor = recallGuard?.finish(
      kernelSeconds: report.kernelSeconds,
      computedPairs: report.computedPairs.joined().reduce(0, +))
  }
}
