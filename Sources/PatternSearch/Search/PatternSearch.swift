import Checkpoints
import Compute
import Files
import SparseAttention
public import Transformers

/// Finds, for every head of a model, the pattern that is worth its time on this device.
///
/// Each sample takes one dense forward pass; beside it every candidate's index is made as it would be
/// at run time, and the mass that it keeps is added up over sampled rows. Memory is one layer's keys
/// and values, the hidden states, and sampled rows x keys of one head.
public struct PatternSearch: Sendable {
  public let model: Transformer
  /// Of the weights; see `WeightSource.fingerprint(of:)`.
  public let fingerprint: String
  public var options: SearchOptions

  public init(model: Transformer, fingerprint: String, options: SearchOptions) {
    self.model = model
    self.fingerprint = fingerprint
    self.options = options
  }

  /// Measures and chooses.
  ///
  /// - Throws: ``SearchError``, `CancellationError`, and what models and backends throw. With a work
  ///   file, layers that were finished are kept.
  public func run(_ samples: [SearchSample]) throws -> SearchResult {
    guard !samples.isEmpty else { throw SearchError.noSamples }
    for sample in samples where sample.ids.count < VerticalSlashRule.lastRows {
      throw SearchError.sampleTooShort(
        name: sample.name, tokens: sample.ids.count, wanted: VerticalSlashRule.lastRows)
    }
    if case .sumOfErrors = options.objective, model.normsAttentionOutput {
      throw SearchError.normedAttentionOutput
    }
    var work = try options.workFile.map {
      try WorkFile(
        path: $0, identity: identity(samples), candidates: options.space.patterns.count)
    }
    let meter = SearchMeter(samples: samples, layers: model.layerCount, options: options)
    try meter.report(stage: "calibration")
    let clock = ContinuousClock()
    let start = clock.now
    let (costs, calibration) = try calibrate(
      &work, longest: samples.map(\.ids.count).max() ?? 0)
    let calibrationSeconds = (clock.now - start).inSeconds
    var measurements: [SampleMeasurement] = []
    for index in samples.indices {
      measurements.append(
        try measure(
          samples[index], index: index, costs: costs, work: &work, meter: meter))
    }
    work?.removeHiddenStates()
    return try SearchResult(
      patterns: options.space.patterns, objective: options.objective, samples: measurements,
      costs: costs, calibration: calibration, calibrationSeconds: calibrationSeconds)
  }

  private func identity(_ samples: [SearchSample]) -> SearchIdentity {
    var candidates = Fingerprint()
    for pattern in options.space.patterns {
      candidates.add(pattern.name)
      for budget in pattern.budgets { candidates.add("\(budget.name) \(budget.text)") }
    }
    let precision = model.backend.attentionPrecision
    let deviceName =
      model.backend.name + (precision == .native ? "" : " with attention of \(precision.rawValue)")
    return SearchIdentity(
      model: fingerprint, layers: model.layerCount,
      heads: model.attentionShape(layer: 0).queryHeads, device: deviceName,
      candidates: candidates.text,
      samples: samples.map { sample in
        var ids = Fingerprint()
        ids.add(sample.ids)
        return ids.text
      },
      chunk: options.chunk,
      keyValueType: (options.keyValueType ?? model.backend.activationType).rawValue,
      columnsThatFillTile: options.columnsThatFillTile, denseBelow: options.denseBelow)
  }

  private func calibrate(
    _ work: inout WorkFile?, longest: Int
  ) throws -> (CostModel, Calibration.Result?) {
    if let costs = work?.calibration { return (costs, nil) }
    let calibration = Calibration(
      shape: model.attentionShape(layer: 0), hiddenSize: model.hiddenSize,
      keyValueType: options.keyValueType,
      lengths: options.calibrationLengths ?? Calibration.lengths(forSample: longest))
    let result = try calibration.run(on: model.backend, isCancelled: options.isCancelled)
    try work?.append(.calibration(result.model))
    return (result.model, result)
  }

  /// One sample, from the first layer that is not in the work file.
  private func measure(
    _ sample: SearchSample, index: Int, costs: CostModel, work: inout WorkFile?,
    meter: SearchMeter
  ) throws -> SampleMeasurement {
    let tileRows = model.backend.tileShape(headDim: model.attentionShape(layer: 0).headDim).rows
    let chunk = options.chunk.map { (min($0, 1 << 40) + tileRows - 1) / tileRows * tileRows }
    let rows = SampledRows(tokens: sample.ids.count, chunk: chunk)
    var measurement = SampleMeasurement(
      name: sample.name, tokens: sample.ids.count, chunks: rows.chunks)
    measurement.layers = work?.layers(ofSample: index) ?? []
    measurement.isResumed = !measurement.layers.isEmpty
    meter.finished(sample: index, layers: measurement.layers.count)
    guard measurement.layers.count < model.layerCount else { return measurement }

    let clock = ContinuousClock()
    var walk = try LayerWalk(model, ids: sample.ids, keyValueType: options.keyValueType)
    if let states = work?.hiddenStates(
      sample: index, layer: measurement.layers.count,
      count: sample.ids.count * model.hiddenSize)
    {
      try walk.resume(atLayer: measurement.layers.count, hidden: states)
    }
    let pools = options.space.patterns.contains(where: \.needsPooledQueries)
    var measurer: (shape: AttentionShape, measurer: LayerMeasurer)?
    while walk.layer < model.layerCount {
      let layer = walk.layer
      let isKnown = layer < measurement.layers.count
      let shape = model.attentionShape(layer: layer)
      let part = try model.part(holding: layer)
      var sampler = LayerSampler(
        rows: rows, shape: shape, backend: part.backend, pools: pools)
      var keysAndValues: KeyValueLayer?
      var sampling = Duration.zero
      let start = clock.now
      try walk.advance(
        attending: layer + 1 < model.layerCount, isCancelled: options.isCancelled
      ) { block in
        guard !isKnown else { return }
        let start = clock.now
        try sampler.add(block)
        keysAndValues = block.keysAndValues
        sampling += clock.now - start
      }
      measurement.denseSeconds += (clock.now - start - sampling).inSeconds
      guard !isKnown, let keysAndValues else { continue }
      let measuring = clock.now
      if measurer?.shape != shape || measurer?.measurer.backend !== part.backend {
        measurer = (
          shape,
          try LayerMeasurer(
            backend: part.backend, patterns: options.space.patterns, rows: rows, shape: shape,
            columnsThatFillTile: options.columnsThatFillTile
              ?? costs.planning(denseBelow: options.denseBelow).columnsThatFillTile(
                part.backend.tileShape(headDim: shape.headDim)),
            denseBelow: options.denseBelow)
        )
      }
      let heads =
        try measurer?.measurer.measure(
          sampler, layer: keysAndValues,
          readout: LayerReadout(norm: try part.feedForwardNorm(layer: layer)) {
            try part.projectAttentionOutputs($0, layer: layer)
          },
          isCancelled: options.isCancelled) ?? []
      measurement.layers.append(heads)
      try work?.append(.layer(sample: index, layer: layer, heads))
      if work != nil, layer + 1 < model.layerCount {
        try work?.keepHiddenStates(try walk.hiddenStates(), sample: index, layer: layer + 1)
      }
      measurement.measuringSeconds += (clock.now - measuring + sampling).inSeconds
      meter.finished(sample: index, layers: layer + 1)
      try meter.report(stage: sample.name)
    }
    return measurement
  }
}

/// Turns finished layers into a fraction of the work.
final class SearchMeter {
  private let weights: [Double]
  private let layers: Int
  private let options: SearchOptions
  private let tokens: Int
  private var done: [Int]

  init(samples: [SearchSample], layers: Int, options: SearchOptions) {
    // Linear layers weigh about as much as attention at a few thousand tokens.
    weights = samples.map { Double($0.ids.count) * Double($0.ids.count + 4096) }
    tokens = samples.reduce(0) { $0 + $1.ids.count }
    self.layers = layers
    self.options = options
    done = samples.map { _ in 0 }
  }

  func finished(sample: Int, layers: Int) { done[sample] = layers }

  func report(stage: String) throws {
    let all = weights.reduce(0, +) * Double(max(layers, 1))
    let finished = zip(weights, done).reduce(0) { $0 + $1.0 * Double($1.1) }
    try options.progress(
      SearchProgress(stage: stage, fraction: all == 0 ? 1 : finished / all, tokens: tokens))
  }
}
