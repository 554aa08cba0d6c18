package import JSON
package import MInference
import TextReports

/// Time to the first token of a model shape with made-up weights and synthetic queries and keys.
package struct ShapeBenchmark {
  package struct Row: Sendable {
    package var mode: String
    package var tokens: Int
    /// From token ids to the logits of the first token, without the synthetic inputs.
    package var seconds: Double
    package var report: PrefillReport
    package var deviceBytes: Int
    /// How keys and values were kept: "bf16 on device".
    package var keyValues: String
    /// Of the bits of the logits: equal for equal results.
    package var hash: UInt64
  }

  private let model: Transformer
  /// That of each stage; one where one device has all layers.
  private let backends: [any SyntheticBackend]
  /// The stages; nil for one device.
  package let pipeline: LayerPipeline?
  /// Whether the stages are in several processes.
  private let isRanks: Bool
  private let patterns: PatternConfiguration
  private let setting: SyntheticAttention.Setting

  /// - Throws: `ComputeError.unavailable` on a device that has no synthetic inputs.
  package init(
    shape: String, patterns: PatternConfiguration, setting: SyntheticAttention.Setting,
    backend: any Backend
  ) throws {
    try self.init(
      shape: shape, patterns: patterns, setting: setting,
      members: [LayerPipeline.Member(backend: backend, name: backend.name)])
  }

  /// The same on several devices, the layers spread over them.
  ///
  /// - Throws: `ComputeError.unavailable` on a device that has no synthetic inputs.
  package init(
    shape: String, patterns: PatternConfiguration, setting: SyntheticAttention.Setting,
    members: [LayerPipeline.Member], stageLayers: [Int]? = nil
  ) throws {
    backends = try members.map { member in
      guard let synthetic = member.backend as? any SyntheticBackend else {
        throw ComputeError.unavailable(
          what: "a model of random weights on \(member.name)", remedy: Remedy(use: .gpu))
      }
      return synthetic
    }
    self.setting = setting
    isRanks = false
    let checkpoint = try ModelShape.checkpoint(named: shape)
    let backends = backends
    if members.count > 1 {
      let pipeline = try LayerPipeline(
        shape: PipelineShape(checkpoint.configuration), members: members,
        stageLayers: stageLayers
      ) { part, member in
        guard let synthetic = member.backend as? any SyntheticBackend else {
          throw ComputeError.unavailable(what: member.name, remedy: Remedy(use: .gpu))
        }
        return try Transformer(shapeOf: checkpoint, backend: synthetic, seed: 1, part: part)
      }
      self.pipeline = pipeline
      model = pipeline.makeTransformer()
    } else {
      pipeline = nil
      model = try Transformer(shapeOf: checkpoint, backend: backends[0], seed: 1)
    }
    self.patterns = try patterns.validated(
      layers: model.layerCount, heads: model.attentionShape(layer: 0).queryHeads)
  }

  /// A pipeline of several processes.
  init(
    _ pipeline: LayerPipeline, patterns: PatternConfiguration,
    setting: SyntheticAttention.Setting, backend: any SyntheticBackend
  ) throws {
    self.pipeline = pipeline
    self.setting = setting
    backends = [backend]
    isRanks = true
    model = pipeline.makeTransformer()
    self.patterns = try patterns.validated(
      layers: model.layerCount, heads: model.attentionShape(layer: 0).queryHeads)
  }

  /// Plans memory as if each device had so many bytes.
  package func limitMemory(to bytes: Int) {
    for backend in backends { backend.limitMemory(to: bytes) }
  }

  /// Reads a prompt once to warm up (of at most 8K tokens) and `runs` times for the figure, the median.
  package func measure(
    _ mode: String, tokens: Int, isDense: Bool, exact: Bool, chunk: Int?,
    keyValues: KeyValueOptions, budgets: ChunkBudgets? = nil, runs: Int,
    progress: @escaping @Sendable (PrefillProgress) -> Void
  ) throws -> Row {
    _ = try read(
      mode, tokens: min(tokens, 8192), isDense: isDense, exact: exact, chunk: chunk,
      keyValues: KeyValueOptions(), budgets: budgets, progress: { _ in })
    var rows: [Row] = []
    for _ in 0..<max(1, runs) {
      rows.append(
        try read(
          mode, tokens: tokens, isDense: isDense, exact: exact, chunk: chunk,
          keyValues: keyValues, budgets: budgets, progress: progress))
    }
    return rows.sorted { $0.seconds < $1.seconds }[rows.count / 2]
  }

  private func read(
    _ mode: String, tokens: Int, isDense: Bool, exact: Bool, chunk: Int?,
    keyValues: KeyValueOptions, budgets chunkBudgets: ChunkBudgets?,
    progress: @escaping @Sendable (PrefillProgress) -> Void
  ) throws -> Row {
    // Chunks of dual chunk attention are chunks of the prompt.
    let dualChunk = model.configuration.dualChunkAttention?.stride
    let budgets = patterns.patterns.joined().reduce((columns: 1, offsets: 1)) { most, pattern in
      guard let bands = pattern.selector as? VerticalSlash else { return most }
      return (max(most.columns, bands.vertical), max(most.offsets, bands.slash))
    }
    let injections = try backends.map {
      try SyntheticInjection(
        setting, keys: tokens, offsets: budgets.offsets, columns: budgets.columns,
        isChunked: pipeline != nil || min(chunk ?? tokens, dualChunk ?? tokens) < tokens,
        shape: model.attentionShape(layer: 0), seed: 11, backend: $0)
    }
    var random = SeededGenerator(seed: 3)
    let ids = (0..<tokens).map { _ in Int32(random.next(below: model.vocabularySize)) }
    var planner = isDense ? nil : AttentionPlanner(configuration: patterns, exact: exact)
    // As the budgets that a configuration with dual chunk attention brings.
    planner?.scalesBudgets = dualChunk != nil
    let cache = try model.makeCache(
      capacity: tokens + 1, keyValues: keyValues, chunk: chunk, planner: planner)
    var options = PrefillOptions(
      planner: planner, chunk: chunk, lastLayerLastRowOnly: true, progress: progress)
    options.chunkBudgets = chunkBudgets
    options.injection = injections[0]
    if pipeline != nil, !isRanks { options.stageInjections = injections }
    if isRanks {
      options.injectionRecipe =
        SyntheticRecipe(
          setting: setting, keys: tokens, offsets: budgets.offsets, columns: budgets.columns
        ).text
    }
    options.measuresLinearLayers = true
    for backend in backends { try backend.finish() }
    pipeline?.trace.clear()
    let start = ContinuousClock.now
    let result = try model.prefill(ids, cache: cache, options: options)
    let whole =
      (ContinuousClock.now - start).inSeconds
      - (injections.map(\.seconds).max() ?? 0)
    return Row(
      mode: mode, tokens: tokens, seconds: whole, report: result.report,
      deviceBytes: backends.map(\.peakBytes).max() ?? 0,
      keyValues: "\(cache.type.rawValue) on \(cache.place.rawValue)",
      hash: Self.hash(of: result.logits))
  }

  /// FNV-1a over the bits of numbers.
  private static func hash(of numbers: [Float]) -> UInt64 {
    numbers.reduce(0xcbf2_9ce4_8422_2325) { hash, number in
      (hash ^ UInt64(number.bitPattern)) &* 0x100_0000_01b3
    }
  }

  package static func table(_ rows: [Row], setting: SyntheticAttention.Setting) -> String {
    var table = TextTable(
      header: [
        "tokens", "attention", "setting", "first token", "ratio", "density", "linear",
        "attention kernel", "index", "rest", "chunks", "keys and values", "GPU memory",
        "logits",
      ])
    for row in rows {
      let dense = rows.first { $0.tokens == row.tokens }?.seconds ?? row.seconds
      let linear = row.report.linearSeconds ?? 0
      table.append([
        Quantity.grouped(row.tokens), row.mode, setting.rawValue, Quantity.seconds(row.seconds),
        Quantity.fixed(dense / row.seconds, 2), Quantity.percent(row.report.density),
        Quantity.seconds(linear), Quantity.seconds(row.report.kernelSeconds),
        Quantity.seconds(row.report.indexSeconds),
        Quantity.seconds(
          max(0, row.seconds - linear - row.report.kernelSeconds - row.report.indexSeconds)),
        Quantity.grouped(row.report.chunks), row.keyValues, Quantity.bytes(row.deviceBytes),
        String(row.hash, radix: 16),
      ])
    }
    return table.text
  }

  package static func json(_ rows: [Row], setting: SyntheticAttention.Setting) -> JSONValue {
    .object([
      ("setting", .string(setting.rawValue)),
      (
        "runs",
        .array(
          rows.map { row in
            .object([
              ("tokens", .integer(row.tokens)), ("attention", .string(row.mode)),
              ("time_to_first_token_s", .number(row.seconds)),
              ("density", .number(row.report.density)),
              ("linear_s", .number(row.report.linearSeconds ?? 0)),
              ("kernel_s", .number(row.report.kernelSeconds)),
              ("index_s", .number(row.report.indexSeconds)),
              ("chunks", .integer(row.report.chunks)),
              ("key_values", .string(row.keyValues)),
              ("logits_hash", .string(String(row.hash, radix: 16))),
              ("device_bytes", .integer(row.deviceBytes)),
            ])
          })
      ),
    ])
  }
}
