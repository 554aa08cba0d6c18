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
  /// Reports of indices that a device was building when they were planned.
  private var pendingReports: [(layer: Int, chunk: Range<Int>, report: PendingIndexReport)] = []

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
  /// - Returns: The pairs of all heads.
  mutating func planned(layer: Int, computedPairs: [Int], causalPairs: Int) -> Int {
    count(layer: layer, computedPairs: computedPairs, causalPairs: causalPairs)
    let sum = computedPairs.reduce(0, +)
    meter.planned(computed: sum, causal: causalPairs * computedPairs.count)
    return sum
  }

  /// The same of an index that a planner made, with the heads dense that a monitor finds weak. Where no monitor
  /// has to know, a device's counts are asked for later: that waits for all it was given.
  ///
  /// - Parameter makeComputation: gives workspace for so many rows of the layer.
  /// - Returns: The index to compute with, and the pairs of all heads, which may be a guess.
  mutating func planned(
    _ planned: PlannedIndex, _ chunk: RecallGuard.Chunk,
    makeComputation: (_ rows: Int) -> LayerComputation
  ) throws -> (SparseIndex, computedPairs: Int) {
    if recallGuard == nil, let report = planned.pendingReport {
      pendingReports.append((chunk.layer, chunk.positions, report))
      return (
        planned.index,
        meter.planned(unknownOfCausal: chunk.causalPairs * chunk.shape.queryHeads)
      )
    }
    let report = try planned.report()
    addFallbacks(report.fallbacks, layer: chunk.layer, chunk: chunk.positions)
    let (index, pairs) =
      try recallGuard?.check(
        chunk, computedPairs: report.computedPairs, makeComputation: makeComputation)
      ?? (planned.index, report.computedPairs)
    return (
      index,
      self.planned(layer: chunk.layer, computedPairs: pairs, causalPairs: chunk.causalPairs)
    )
  }

  /// Asks for what devices counted of the indices so far.
  private mutating func readPendingReports() throws {
    for (layer, chunk, pending) in pendingReports {
      let report = try pending.report()
      addFallbacks(report.fallbacks, layer: layer, chunk: chunk)
      count(
        layer: layer, computedPairs: report.computedPairs,
        causalPairs: report.causalPairs.first ?? 0)
      meter.learned(
        computed: report.computedPairs.reduce(0, +), causal: report.causalPairs.reduce(0, +))
    }
    pendingReports = []
  }

  private mutating func count(layer: Int, computedPairs: [Int], causalPairs: Int) {
    for head in computedPairs.indices {
      report.computedPairs[layer][head] += computedPairs[head]
      report.causalPairs[layer][head] += causalPairs
    }
  }

  mutating func addFallbacks(_ reasons: [Int: String], layer: Int, chunk: Range<Int>) {
    report.denseFallbacks += reasons.sorted { $0.key < $1.key }.map {
      DenseFallback(
        layer: layer, head: $0.key, firstPosition: chunk.lowerBound, reason: $0.value)
    }
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
  mutating func finishedChunk(tokens: Int) throws {
    report.tokens += tokens
    report.chunks += 1
    // Progress weighs what is to come by what was found; for the report alone there is time at the end.
    if progress != nil { try readPendingReports() }
  }

  /// Completes the report.
  ///
  /// - Parameters:
  ///   - seconds: What the prefill took, with recall and injection.
  ///   - injectionSeconds: Are in no figure.
  mutating func finish(
    seconds: Double, injectionSeconds: Double, linearSeconds: Double?
  ) throws {
    try readPendingReports()
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
