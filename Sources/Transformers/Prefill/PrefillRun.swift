import Compute
import SparseAttention

/// One reading of a prompt: chunk by chunk, within a chunk layer by layer, within a layer block of
/// rows by block of rows.
///
/// A layer takes two passes over the rows of its chunk, since estimation needs the chunk's last
/// queries and all of its keys before the first row can be attended to: the first stores keys and
/// values, the second computes attention and MLP and adds them to the hidden states. Beyond the cache
/// only the hidden states grow with the chunk; all else is bounded by the block.
struct PrefillRun {
  let model: Transformer
  let cache: KeyValueCache
  private let options: PrefillOptions
  /// Fitted to the model; nil: dense.
  private let planner: AttentionPlanner?
  /// Whether hidden states are wanted in every row, for the logits of every position.
  let wantsAllRows: Bool
  let plan: ChunkPlan
  private let rotary: RotaryEmbedding
  private let workspace: RowWorkspace
  private(set) var report: PrefillReport
  private var meter: WorkMeter
  private var recall: RecallProbe?
  private var recallGuard: RecallGuard?
  private let kernelWatch: any WorkStopwatch
  private let indexWatch: any WorkStopwatch
  private let recallWatch: any WorkStopwatch
  private let linearWatch: (any WorkStopwatch)?
  private let positions: Range<Int>

  /// Last rows of a chunk that estimation looks at. Source: MInference, section 3.2.
  private static let estimatedRows = 64

  /// Plans the reading of so many tokens behind those that the cache holds.
  init(
    _ model: Transformer, tokens: Int, cache: KeyValueCache, options: PrefillOptions,
    wantsAllRows: Bool
  ) throws {
    self.model = model
    self.cache = cache
    self.options = options
    self.wantsAllRows = wantsAllRows
    kernelWatch = model.backend.makeStopwatch()
    indexWatch = model.backend.makeStopwatch()
    recallWatch = model.backend.makeStopwatch()
    linearWatch = options.measuresLinearLayers ? model.backend.makeStopwatch() : nil
    let configuration = model.decoder
    planner = try options.planner?.validated(
      layers: configuration.layers, heads: configuration.attention[0].queryHeads)
    positions = cache.count..<cache.count + tokens
    let wholePlan = try ChunkPlan(
      positions: positions, chunk: options.chunk,
      rowBlock: options.rowBlock ?? model.backend.rowBlock,
      tileRows: model.backend.tileShape(headDim: configuration.headDim).rows)
    // Each chunk of dual chunk attention estimates with its own last rows, as the report has it.
    plan =
      configuration.dualChunk.map { ChunkPlan(wholePlan, cutting: $0.chunks) } ?? wholePlan
    rotary = model.rotaryEmbedding(of: cache, adding: tokens)
    workspace = try RowWorkspace(
      rows: min(plan.rowBlock, plan.chunks.map(\.count).max() ?? 1), configuration: configuration,
      backend: model.backend)
    report = PrefillReport(
      layers: configuration.layers, heads: configuration.attention[0].queryHeads)
    report.reusedTokens = positions.lowerBound
    meter = WorkMeter(
      plan: plan, configuration: configuration, isSparse: planner != nil)
    if let monitor = options.monitor, planner != nil {
      recallGuard = RecallGuard(monitor, configuration: configuration, backend: model.backend)
    }
    if options.measureRecall, let planner {
      recall = RecallProbe(
        positions: positions, sinkAndWindow: planner.sinkAndWindow, configuration: configuration)
    }
  }

  /// Reads the tokens; `finished` gets the hidden states of each chunk, [rows, hidden], and its
  /// positions. Chunks that were finished stay in the cache when a later one is cancelled or fails.
  mutating func read(
    _ ids: [Int32], finished: (_ hidden: Tensor, _ chunk: Range<Int>) throws -> Void
  ) throws {
    let start = ContinuousClock.now
    for chunk in plan.chunks {
      let part = ids[
        chunk.lowerBound - positions.lowerBound..<chunk.upperBound - positions.lowerBound]
      let hidden = try model.backend.makeTensor(
        model.backend.activationType, [chunk.count, model.decoder.hiddenSize],
        purpose: "the hidden states of a chunk of \(chunk.count) tokens")
      try model.backend.embed(Array(part), table: model.weights.embedding, into: hidden)
      for layer in model.weights.layers.indices {
        try cache.withLayer(layer, count: chunk.upperBound, for: .prefill) {
          try read(chunk, hidden: hidden, layer: layer, keysAndValues: $0)
        }
      }
      cache.count = chunk.upperBound
      report.tokens += chunk.count
      report.chunks += 1
      try finished(hidden, chunk)
    }
    try model.backend.finish()
    report.kernelSeconds = kernelWatch.seconds
    report.indexSeconds = indexWatch.seconds
    report.seconds =
      (ContinuousClock.now - start).inSeconds - recallWatch.seconds
      - (options.injection?.seconds ?? 0)
    report.linearSeconds = linearWatch?.seconds
    report.recall = recall?.meter.summary
    report.headRecalls = recall?.meter.headRecalls
    report.monitor = recallGuard?.finish(
      kernelSeconds: report.kernelSeconds,
      computedPairs: report.computedPairs.joined().reduce(0, +))
  }
}

// MARK: One layer of one chunk

extension PrefillRun {
  private mutating func read(
    _ chunk: Range<Int>, hidden: Tensor, layer: Int, keysAndValues: KeyValueLayer
  ) throws {
    let shape = model.decoder.attention[layer]
    let causal = SparseIndex.causalPairs(
      firstPosition: chunk.lowerBound, rows: chunk.count, slidingWindow: shape.slidingWindow)

    let wantsRows =
      layer < model.decoder.layers - 1 || wantsAllRows || !options.lastLayerLastRowOnly
    let planner = wantsRows ? planner : nil
    var pooling = try planner.flatMap {
      try QuerySketch(
        $0, layer: layer, backend: model.backend, shape: shape, firstPosition: chunk.lowerBound,
        rows: chunk.count, needsHostIndex: needsHostIndex(chunk))
    }
    try storeKeysAndValues(
      chunk, hidden: hidden, layer: layer, keysAndValues: keysAndValues, pooling: &pooling)
    guard wantsRows else {
      meter.skipped(rows: chunk.count, causal: causal * shape.queryHeads)
      try addLastRow(of: chunk, hidden: hidden, layer: layer, keysAndValues: keysAndValues)
      return
    }
    let (index, computed) = try makeIndex(
      chunk, hidden: hidden, layer: layer, keysAndValues: keysAndValues, planner: planner,
      pooling: pooling, causal: causal)
    for head in computed.indices {
      report.computedPairs[layer][head] += computed[head]
      report.causalPairs[layer][head] += causal
    }
    let pairs = computed.reduce(0, +)
    meter.planned(computed: pairs, causal: causal * shape.queryHeads)
    let dualChunk = model.decoder.dualChunk
    let regionIndices = RegionIndices(index)
    for rows in plan.rowBlocks(of: chunk).flatMap({ dualChunk?.cut($0) ?? [$0] }) {
      try checkCancellation()
      if let regions = dualChunk?.regions(ofRowsFrom: rows.lowerBound), regions.count > 1 {
        try addAttention(
          rows, of: chunk, hidden: hidden, layer: layer, keysAndValues: keysAndValues,
          regions: regions, indices: regionIndices)
      } else {
        try addAttention(
          rows, of: chunk, hidden: hidden, layer: layer, keysAndValues: keysAndValues, index: index)
      }
      let share =
        Double(
          SparseIndex.causalPairs(
            firstPosition: rows.lowerBound, rows: rows.count, slidingWindow: shape.slidingWindow))
        / Double(causal)
      meter.finishedRows(rows.count, pairs: share * Double(pairs))
      try reportProgress()
    }
  }

  /// Whether parts of the chunk's index will be wanted, which are made on the host.
  private func needsHostIndex(_ chunk: Range<Int>) -> Bool {
    chunk.lowerBound >= model.decoder.dualChunk?.stride ?? .max
  }

  /// The first pass. `pooling` gets all queries, if there is one.
  private mutating func storeKeysAndValues(
    _ chunk: Range<Int>, hidden: Tensor, layer: Int, keysAndValues: KeyValueLayer,
    pooling: inout QuerySketch?
  ) throws {
    for rows in plan.rowBlocks(of: chunk) {
      try checkCancellation()
      let step = step(layer: layer, rows: rows.count)
      let block = slice(hidden, rows, of: chunk)
      try step.storeKeysAndValues(of: block, in: keysAndValues, firstPosition: rows.lowerBound)
      if pooling != nil {
        try indexWatch.time {
          try pooling?.add(
            step.queries(of: block, firstPosition: rows.lowerBound),
            firstPosition: rows.lowerBound, layer: keysAndValues)
        }
      }
      meter.storedRows(rows.count)
      try reportProgress()
    }
  }

  /// The index of the chunk in a layer and, for each head, the pairs that it computes.
  private mutating func makeIndex(
    _ chunk: Range<Int>, hidden: Tensor, layer: Int, keysAndValues: KeyValueLayer,
    planner: AttentionPlanner?, pooling: QuerySketch?, causal: Int
  ) throws -> (SparseIndex, computed: [Int]) {
    let shape = model.decoder.attention[layer]
    let fallbacks = planner?.fallbacksOfDenseChunk(
      layer: layer, keys: chunk.upperBound, rows: chunk.count)
    addFallbacks(fallbacks ?? [:], layer: layer, chunk: chunk)
    guard let planner, fallbacks == nil else {
      let index = try SparseIndex.dense(
        firstPosition: chunk.lowerBound, rows: chunk.count, heads: shape.queryHeads,
        tile: model.backend.tileShape(headDim: shape.headDim))
      return (index, Array(repeating: causal, count: shape.queryHeads))
    }
    try checkCancellation()
    let (index, indexReport) = try indexWatch.time {
      let last = max(chunk.lowerBound, chunk.upperBound - Self.estimatedRows)..<chunk.upperBound
      let queries = try step(layer: layer, rows: last.count)
        .queries(of: slice(hidden, last, of: chunk), firstPosition: last.lowerBound)
      var inputs = ChunkInputs(
        backend: model.backend, shape: shape, keyValueLayer: keysAndValues,
        firstPosition: chunk.lowerBound, rows: chunk.count, lastRows: queries,
        pooledQueries: nil, memory: cache.selectionMemory)
      pooling?.fill(&inputs)
      inputs.needsHostIndex = needsHostIndex(chunk)
      return try planner.makeIndex(layer: layer, inputs)
    }
    addFallbacks(indexReport.fallbacks, layer: layer, chunk: chunk)
    guard recallGuard != nil else { return (index, indexReport.computedPairs) }
    let planned = RecallGuard.Chunk(
      layer: layer, positions: chunk, hidden: hidden, keysAndValues: keysAndValues, shape: shape,
      patterns: planner.configuration.patterns[layer], index: index,
      computedPairs: indexReport.computedPairs, causalPairs: causal)
    let makeStep = { [self] rows in step(layer: layer, rows: rows) }
    return try recallGuard?.check(planned, makeStep: makeStep)
      ?? (index, indexReport.computedPairs)
  }

  private mutating func addFallbacks(_ reasons: [Int: String], layer: Int, chunk: Range<Int>) {
    report.denseFallbacks += reasons.sorted { $0.key < $1.key }.map {
      DenseFallback(
        layer: layer, head: $0.key, firstPosition: chunk.lowerBound, reason: $0.value)
    }
  }

  /// The second pass over one block of rows.
  private mutating func addAttention(
    _ rows: Range<Int>, of chunk: Range<Int>, hidden: Tensor, layer: Int,
    keysAndValues: KeyValueLayer, index: SparseIndex
  ) throws {
    let step = step(layer: layer, rows: rows.count)
    let block = slice(hidden, rows, of: chunk)
    let shape = model.decoder.attention[layer]
    let q = try step.queries(of: block, firstPosition: rows.lowerBound)
    let sample = try recallWatch.time {
      try recall?.sample(
        rows, q: q, layer: layer, shape: shape, keysAndValues: keysAndValues, index: index,
        backend: model.backend)
    }
    try kernelWatch.time {
      try model.backend.attention(
        q: q, firstPosition: rows.lowerBound, layer: keysAndValues, shape: shape, index: index,
        into: q, logSumExp: sample?.logSumExp)
    }
    if let sample {
      try recallWatch.time { try recall?.compare(sample, layer: layer, backend: model.backend) }
    }
    try step.addAttentionOutput(to: block)
    try step.addFeedForward(to: block)
  }

  /// The same where dual chunk attention turns the queries differently for several regions of keys.
  /// Recall is not sampled there.
  private mutating func addAttention(
    _ rows: Range<Int>, of chunk: Range<Int>, hidden: Tensor, layer: Int,
    keysAndValues: KeyValueLayer, regions: [DualChunk.Region], indices: RegionIndices
  ) throws {
    let step = step(layer: layer, rows: rows.count)
    let block = slice(hidden, rows, of: chunk)
    let shape = model.decoder.attention[layer]
    try kernelWatch.time {
      try step.attend(block, firstPosition: rows.lowerBound, regions: regions) {
        q, region, o, logSumExp in
        try model.backend.attention(
          q: q, firstPosition: rows.lowerBound, layer: keysAndValues, shape: shape,
          index: try indices.index(of: region), into: o, logSumExp: logSumExp)
      }
    }
    try step.addAttentionOutput(to: block)
    try step.addFeedForward(to: block)
  }

  /// What is left of the last layer when only the prompt's last row is wanted: nothing, but for the
  /// last chunk that row, attended to as decoding does.
  private mutating func addLastRow(
    of chunk: Range<Int>, hidden: Tensor, layer: Int, keysAndValues: KeyValueLayer
  ) throws {
    guard chunk.upperBound == positions.upperBound else { return }
    let last = chunk.upperBound - 1
    let step = step(layer: layer, rows: 1)
    let row = slice(hidden, last..<last + 1, of: chunk)
    let shape = model.decoder.attention[layer]
    try kernelWatch.time {
      try step.attendRow(
        row, position: last, keysAndValues: keysAndValues, shape: shape,
        dualChunk: model.decoder.dualChunk)
    }
    try step.addAttentionOutput(to: row)
    try step.addFeedForward(to: row)
    for head in 0..<shape.queryHeads {
      let pairs = last + 1 - shape.firstKey(visibleFrom: last)
      report.computedPairs[layer][head] += pairs
      report.causalPairs[layer][head] += pairs
    }
  }

  private func step(layer: Int, rows: Int) -> RowWorkspace.Step {
    RowWorkspace.Step(
      backend: model.backend, configuration: model.decoder, layer: model.weights.layers[layer],
      rotary: rotary, workspace: workspace.prefix(rows), injection: options.injection,
      linearWatch: linearWatch)
  }

  private func slice(_ hidden: Tensor, _ rows: Range<Int>, of chunk: Range<Int>) -> Tensor {
    hidden.slice(
      rows: rows.lowerBound - chunk.lowerBound..<rows.upperBound - chunk.lowerBound)
  }

  private func checkCancellation() throws {
    if options.isCancelled() { throw CancellationError() }
  }

  private mutating func reportProgress() throws {
    try model.backend.limitWorkAhead()
    guard let progress = options.progress else { return }
    try progress(
      PrefillProgress(fraction: meter.currentFraction(), tokens: positions.count))
  }
}
