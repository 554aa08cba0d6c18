import Compute

extension Transformer {
  /// Reads one more token and returns the logits of the token after it; attention is dense.
  ///
  /// - Throws: ``TransformerError`` when the id, the context or the cache does not allow it; the cache
  ///   is then as before.
  public func decode(_ id: Int32, cache: KeyValueCache) throws -> [Float] {
    try backend.read(decodedLogits(id, cache: cache))
  }

  /// The same, where the backend computes: [1, vocabulary] float32. The next token overwrites them.
  ///
  /// A device that records steps (``StepRecording``) repeats one from a sequence's second token on.
  func decodedLogits(_ id: Int32, cache: KeyValueCache) throws -> Tensor {
    try validate([id], for: cache)
    try requireAllLayers(of: cache)
    if let distribution {
      guard let hidden = try distribution.hiddenStates(of: [id], caches: [cache]).first else {
        throw TransformerError.missingPart(what: "the last device's output")
      }
      return try decodedLogits(of: hidden)
    }
    // What is allocated, loaded and measured at a first use is there when a step is recorded.
    guard let device = backend as? any StepRecording, cache.decodeWorkspace != nil,
      canRepeatSteps(of: cache)
    else { return try computedLogits(id, cache: cache) }
    let position = cache.count
    let step = try decodingStep(of: cache, on: device)
    try step.recorded.run(ids: [id], positions: [position])
    cache.count = position + 1
    return step.logits
  }

  /// The logits behind a token, which is added to the cache.
  private func computedLogits(_ id: Int32, cache: KeyValueCache) throws -> Tensor {
    guard decoder.dualChunk != nil else {
      return try computedLogits(
        behind: [id], caches: [cache], workspace: workspace(decoding: cache))
    }
    let hidden = try embed(tokens: [id])
    try pass(token: hidden, cache: cache)
    return try makeLogits(of: hidden)
  }

  /// The recorded step of a cache, recorded again where the sequence has outgrown it.
  private func decodingStep(
    of cache: KeyValueCache, on device: any StepRecording
  ) throws -> DecodingStep {
    let position = cache.count
    let rotary = rotaryEmbedding(of: cache, adding: 1)
    if let step = cache.decodingStep, position < step.recorded.keyLimit, step.rotary == rotary {
      return step
    }
    cache.decodingStep = nil
    let limit = DecodingStep.keyLimit(above: position)
    var logits: Tensor?
    let recorded = try device.recordStep(rows: 1, keyLimit: min(limit, cache.capacity)) {
      // Nothing is computed: the token is not there yet.
      defer { cache.count = position }
      logits = try computedLogits(0, cache: cache)
    }
    guard let logits else {
      throw ComputeError.unavailable(what: "a recorded decoding step", remedy: "decode without")
    }
    let step = DecodingStep(recorded: recorded, logits: logits, rotary: rotary)
    cache.decodingStep = step
    return step
  }
}

extension Transformer {
  /// Reads a few tokens and decodes a few more, and forgets them: a device loads kernels, plans products and
  /// takes memory where it first needs them, and no prompt is to wait for it.
  ///
  /// - Throws: What reading a prompt throws; where memory is too scarce for a short prompt.
  package func warmUp() throws {
    let tokens = min(33, contextLength - 4)
    guard tokens > 0, distribution == nil else { return }
    let cache = try makeCache(capacity: tokens + 4)
    var logits = try prefill([Int32](repeating: 0, count: tokens), cache: cache).deviceLogits
    for _ in 0..<3 {
      _ = try backend.mostLikely(logits)
      logits = try decodedLogits(0, cache: cache)
    }
    try backend.finish()
  }
}

/// The decoding step of a sequence, as its device repeats it.
struct DecodingStep {
  let recorded: any RecordedStep
  /// [1, vocabulary] float32: where every repetition leaves its logits.
  let logits: Tensor
  let rotary: RotaryEmbedding

  private static let leastKeyLimit = 512

  /// How many keys attention of a step at a position shares out: twice as many at most as there are.
  static func keyLimit(above position: Int) -> Int {
    var limit = leastKeyLimit
    while limit <= position { limit *= 2 }
    return limit
  }
}
