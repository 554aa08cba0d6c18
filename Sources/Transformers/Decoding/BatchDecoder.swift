public import Compute

/// Decodes the next tokens of several sequences of one model together: weights are read once for all of them.
///
/// A token's logits do not depend on the sequences beside it; on processors they are bit for bit those of
/// `Transformer.decode(_:cache:)`. A device that records steps (`StepRecording`) records one for each
/// number of sequences. Used by one thread at a time.
public final class BatchDecoder {
  public let model: Transformer
  /// For the most rows so far.
  private var workspace: RowWorkspace?
  /// Numbers of sequences for which what is loaded and measured at a first use is there.
  private var prepared: Set<Int> = []
  private var steps: [StepKey: BatchStep] = [:]
  /// Counts the calls of ``logits(behind:caches:)``.
  private(set) var calls = 0

  /// Recorded steps that are kept.
  private static let mostSteps = 64

  public init(model: Transformer) { self.model = model }

  /// Adds token r to caches[r], whose sequence it continues.
  ///
  /// Sequences with dual chunk attention or with unlike types of cache are decoded one by one. Over several devices
  /// groups of sequences follow one another, see ``LayerDistribution/hiddenStates(of:caches:)``.
  ///
  /// - Parameters:
  ///   - ids: One for each cache.
  ///   - caches: At least one, each once.
  /// - Returns: The logits of the tokens after these, [ids, vocabulary] float32, where the backend computes;
  ///   the next call may overwrite them.
  /// - Throws: ``TransformerError`` when an id, the context or a cache does not allow it, and `ComputeError`;
  ///   the caches are then as before.
  public func logits(behind ids: [Int32], caches: [KeyValueCache]) throws -> Tensor {
    guard ids.count == caches.count, !ids.isEmpty else {
      throw TransformerError.invalidOption(
        name: "the number of tokens", value: "\(ids.count)",
        allowed: "that of the caches, \(caches.count), and at least 1")
    }
    for (id, cache) in zip(ids, caches) {
      try model.validate([id], for: cache)
      try model.requireAllLayers(of: cache)
    }
    guard Set(caches.map(ObjectIdentifier.init)).count == caches.count else {
      throw TransformerError.cacheInUse
    }
    calls += 1
    if ids.count == 1 { return try model.decodedLogits(ids[0], cache: caches[0]) }
    guard canShareStep(caches) else { return try separateLogits(behind: ids, caches: caches) }
    let rotaries = Set(caches.map { model.rotaryEmbedding(of: $0, adding: 1) })
    guard let device = model.backend as? any StepRecording, rotaries.count == 1,
      let rotary = rotaries.first, prepared.contains(ids.count),
      caches.allSatisfy(model.canRepeatSteps)
    else {
      let logits = try model.computedLogits(
        behind: ids, caches: caches, workspace: workspace(rows: ids.count))
      prepared.insert(ids.count)
      return logits
    }
    let positions = caches.map(\.count)
    let step = try step(of: caches, rotary: rotary, on: device)
    try step.run(ids: ids, positions: positions, caches: caches)
    for (cache, position) in zip(caches, positions) { cache.count = position + 1 }
    return step.logits
  }

  /// Whether the sequences can be rows of one step.
  private func canShareStep(_ caches: [KeyValueCache]) -> Bool {
    model.distribution == nil && model.canDecodeTogether(caches)
  }

  /// The same, one sequence after the other, or by the devices of a distribution.
  private func separateLogits(behind ids: [Int32], caches: [KeyValueCache]) throws -> Tensor {
    let logits = try model.backend.makeTensor(
      .float32, [ids.count, model.vocabularySize], purpose: "the logits of \(ids.count) tokens")
    if let distribution = model.distribution {
      for (id, cache) in zip(ids, caches) {
        try model.validate([id], for: cache)
        try model.requireAllLayers(of: cache)
      }
      let states = try distribution.hiddenStates(of: ids, caches: caches)
      var row = 0
      for hidden in states {
        try model.backend.gatherRows(
          model.decodedLogits(of: hidden), rows: (0..<hidden.rows).map(Int32.init),
          into: logits.slice(rows: row..<row + hidden.rows))
        row += hidden.rows
      }
      return logits
    }
    let counts = caches.map(\.count)
    do {
      for (row, id) in ids.enumerated() {
        try model.backend.gatherRows(
          model.decodedLogits(id, cache: caches[row]), rows: [0],
          into: logits.slice(rows: row..<row + 1))
      }
    } catch {
      for (cache, count) in zip(caches, counts) where cache.count > count {
        cache.truncate(to: count)
      }
      throw error
    }
    return logits
  }

  private func workspace(rows: Int) throws -> RowWorkspace {
    if let workspace, workspace.rows >= rows { return workspace.prefix(rows) }
    let made = try RowWorkspace(rows: rows, configuration: model.decoder, backend: model.backend)
    workspace = made
    return made
  }

  /// The recorded step of so many sequences up to these lengths.
  private func step(
    of caches: [KeyValueCache], rotary: RotaryEmbedding, on device: any StepRecording
  ) throws -> BatchStep {
    let positions = caches.map(\.count)
    let limit = DecodingStep.keyLimit(above: positions.max() ?? 0)
    let key = StepKey(rows: caches.count, keyLimit: limit, type: caches[0].type, rotary: rotary)
    if let step = steps[key] { return step }
    if steps.count >= Self.mostSteps { steps.removeAll() }
    let workspace = try workspace(rows: caches.count)
    var logits: Tensor?
    let recorded = try device.recordStep(rows: caches.count, keyLimit: limit) {
      // Nothing is computed: the tokens are not there yet.
      defer { for (cache, position) in zip(caches, positions) { cache.count = position } }
      logits = try model.computedLogits(
        behind: [Int32](repeating: 0, count: caches.count), caches: caches, workspace: workspace)
    }
    guard let logits else {
      throw ComputeError.unavailable(what: "a recorded decoding step", remedy: "decode without")
    }
    let step = BatchStep(recorded: recorded, logits: logits, workspace: workspace)
    steps[key] = step
    return step
  }
}

/// What decides the operations of a step.
private struct StepKey: Hashable {
  let rows: Int
  let keyLimit: Int
  let type: DataType
  let rotary: RotaryEmbedding
}

/// A recorded step of several sequences, which may be others every time.
private final class BatchStep {
  private let recorded: any RecordedStep
  let logits: Tensor
  /// What the step writes to.
  private let workspace: RowWorkspace
  /// The sequences whose keys and values the step was pointed to last.
  private var bound: [WeakCache] = []

  private struct WeakCache {
    weak var cache: KeyValueCache?
  }

  init(recorded: any RecordedStep, logits: Tensor, workspace: RowWorkspace) {
    self.recorded = recorded
    self.logits = logits
    self.workspace = workspace
  }

  func run(ids: [Int32], positions: [Int], caches: [KeyValueCache]) throws {
    let isBound =
      bound.count == caches.count && zip(bound, caches).allSatisfy { $0.cache === $1 }
    if !isBound {
      bound = []
      let layers = try caches.map { cache in
        try cache.layers.map { layer in
          try cache.open(layer, count: cache.count, for: .decode).keysAndValues
        }
      }
      try recorded.bind(layers)
      bound = caches.map { WeakCache(cache: $0) }
    }
    try recorded.run(ids: ids, positions: positions)
  }
}
