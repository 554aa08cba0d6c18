public import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Compares a whole checkpoint on a device with the reference: logits at every position, by every
/// way in which they can come about.
///
/// The reference is `ReferenceBackend`, which does all arithmetic in Double, where it is fast enough,
/// else another backend that computes in float32. A device that rounds activations cannot agree to
/// many digits: what its logits may differ by is measured by rounding on the CPU what the device
/// rounds (``RoundingBackend``); the CPU's own kernels round what they multiply with weights in blocks. Runs that pass the same numbers to the same kernels must agree
/// bit for bit: keys and values kept by the host, or saved and restored.
public final class ModelVerifier {
  let device: Transformer
  let reference: Transformer
  let rounded: Transformer?
  let roundedFloat8: Transformer?
  let prompt: ModelPrompt
  let patterns: PatternConfiguration?
  /// Logits of the reference at every position, [tokens * vocabulary].
  let expected: [Float]
  let tolerance: LogitTolerance
  let float8Tolerance: LogitTolerance
  var result: ModelVerification
  let report: (ModelCheck) -> Void

  /// The most multiplications of one reading of the prompt that the reference is given.
  static let mostReferenceWork = 1_500_000_000
  /// The most logits that are held at once.
  static let mostLogits = 1 << 28

  /// - Parameters:
  ///   - backend: The device.
  ///   - cpu: A CPU backend other than `backend`, and its name: the comparison where the reference would take
  ///     too long.
  ///   - patterns: The patterns of the checkpoint's heads; nil: not known.
  ///   - report: Gets every comparison once it is made.
  /// - Throws: `CheckpointError`, `TransformerError`, `ComputeError` for what the device cannot run
  ///   at all. A comparison that throws later is a miss.
  public static func verify(
    _ checkpoint: any WeightSource, on backend: any Backend,
    cpu: (name: String, backend: any Backend),
    prompt: ModelPrompt, patterns: PatternConfiguration?,
    begin: (ModelVerification) -> Void = { _ in },
    report: @escaping (ModelCheck) -> Void = { _ in }
  ) throws -> ModelVerification {
    let verifier = try ModelVerifier(
      checkpoint, on: backend, cpu: cpu, prompt: prompt, patterns: patterns, report: report)
    begin(verifier.result)
    verifier.checkPrefill()
    verifier.checkKeyValues()
    verifier.checkSparse()
    verifier.checkContinuation()
    return verifier.result
  }

  private init(
    _ checkpoint: any WeightSource, on backend: any Backend,
    cpu: (name: String, backend: any Backend),
    prompt: ModelPrompt,
    patterns: PatternConfiguration?, report: @escaping (ModelCheck) -> Void
  ) throws {
    let configuration = checkpoint.configuration
    let vocabulary = configuration.vocabularySize
    guard prompt.ids.count * vocabulary <= Self.mostLogits else {
      throw LanguageModelError.promptTooLong(
        tokens: prompt.ids.count, contextLength: Self.mostLogits / vocabulary)
    }
    device = try Transformer(checkpoint: checkpoint, backend: backend)
    let tile = backend.tileShape(headDim: configuration.headDimension)
    let isFast = Self.work(configuration, tokens: prompt.ids.count) <= Self.mostReferenceWork
    func model(_ rounding: RoundingBackend.Rounding) throws -> Transformer {
      try Transformer(
        checkpoint: checkpoint,
        backend: RoundingBackend(
          cpu.backend, rounding: rounding, tile: tile, vocabularySize: vocabulary))
    }
    reference =
      isFast
      ? try Transformer(checkpoint: checkpoint, backend: ReferenceBackend(tile: tile))
      : try model(.none)
    self.prompt = prompt
    self.patterns = patterns
    self.report = report
    expected = try Self.score(reference, prompt.ids)
    let formats = try checkpoint.matrixFormats(of: checkpoint.neededTensorNames())
    let roundsToHalf =
      backend.activationType == .bfloat16
      || backend.capabilities.roundsForBFloat16Weights && formats.contains(.dense(.bfloat16))
    let hasBlocks = formats.contains {
      if case .blocks = $0 { true } else { false }
    }
    guard roundsToHalf || backend.capabilities.roundsForBlocks && hasBlocks else {
      (rounded, roundedFloat8) = (nil, nil)
      (tolerance, float8Tolerance) = (.float32, .float32)
      result = ModelVerification(
        reference: isFast ? "the reference in float64" : cpu.name,
        toleranceSource: "float32 arithmetic, and what rounded keys and values cost the reference")
      return
    }
    let models = try (
      model(roundsToHalf ? .activations : .none), model(.activationsAndFloat8Cache)
    )
    (rounded, roundedFloat8) = models
    tolerance = .rounding(
      .between(try Self.score(models.0, prompt.ids), expected, width: vocabulary))
    float8Tolerance = .rounding(
      .between(try Self.score(models.1, prompt.ids), expected, width: vocabulary))
    result = ModelVerification(
      reference: isFast ? "the reference in float64" : cpu.name,
      toleranceSource: "the CPU with activations (and keys and values) rounded as the device's")
  }

  /// Multiplications of one reading, about.
  private static func work(_ configuration: ModelConfiguration, tokens: Int) -> Int {
    let hidden = configuration.hiddenSize
    let heads = configuration.numAttentionHeads * configuration.headDimension
    let shared = configuration.numKeyValueHeads * configuration.headDimension
    let width =
      configuration.experts.map { ($0.perToken + ($0.sharedCount ?? 0)) * $0.intermediateSize }
      ?? configuration.intermediateSize
    let layer = hidden * (2 * heads + 2 * shared + 3 * width)
    let weights = configuration.numHiddenLayers * layer + hidden * configuration.vocabularySize
    return tokens * weights + configuration.numHiddenLayers * heads * tokens * tokens
  }

  // MARK: Helpers of all comparisons

  var ids: [Int32] { prompt.ids }
  var width: Int { device.vocabularySize }

  /// Makes one comparison; what it throws is a miss.
  func check(
    _ name: String, _ tolerance: LogitTolerance,
    body: () throws -> (values: [Float], expected: ArraySlice<Float>, note: String)
  ) {
    let check: ModelCheck
    do {
      let (values, expected, note) = try body()
      check = ModelCheck(
        name: name, positions: values.count / width,
        error: .between(values, expected, width: width), tolerance: tolerance, note: note)
    } catch {
      check = ModelCheck(
        name: name, positions: 0, error: .infinite, tolerance: tolerance, note: "\(error)")
    }
    result.checks.append(check)
    report(check)
  }

  /// Logits of every position from those on that the cache holds.
  static func score(
    _ model: Transformer, _ ids: [Int32], _ options: PrefillOptions = PrefillOptions(),
    cache: KeyValueCache? = nil
  ) throws -> [Float] {
    let cache = try cache ?? makeCache(model, ids.count)
    var all: [Float] = []
    all.reserveCapacity((ids.count - cache.count) * model.vocabularySize)
    try model.score(Array(ids[cache.count...]), cache: cache, options: options) { all += $1 }
    return all
  }

  /// A cache for so many tokens, and as if the first prompt were as long.
  static func makeCache(
    _ model: Transformer, _ tokens: Int, _ keyValues: KeyValueOptions = KeyValueOptions()
  ) throws -> KeyValueCache {
    try model.makeCache(capacity: tokens, keyValues: keyValues, sequenceLength: tokens)
  }
}
