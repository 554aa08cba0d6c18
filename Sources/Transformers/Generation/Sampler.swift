#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Chooses tokens from logits.
///
/// In order, as transformers applies them: repetition penalty, temperature, top-k, top-p, min-p. Of
/// equal logits the lower id counts as the more likely one.
public struct Sampler: Sendable {
  public let options: SamplingOptions
  /// The seed in use; giving it again repeats the choices.
  public let seed: UInt64
  private var generator: SplitMix64

  /// Throws ``TransformerError/invalidOption(name:value:allowed:)``.
  public init(_ options: SamplingOptions = SamplingOptions()) throws {
    try options.validate()
    self.options = options
    seed = options.seed ?? UInt64.random(in: 0...UInt64.max)
    generator = SplitMix64(seed: seed)
  }

  /// The next id.
  ///
  /// - Parameters:
  ///   - logits: One for each id; negative infinity excludes an id.
  ///   - history: Ids seen so far, prompt and answer; only the repetition penalty looks at them.
  /// - Throws: ``TransformerError/invalidLogits(problem:)`` for NaN, positive infinity, or no candidate.
  ///
  /// O(vocabulary), and O(vocabulary * log vocabulary) with top-k or top-p.
  public mutating func sample(
    logits: [Float], history: some Sequence<Int32> = EmptyCollection<Int32>()
  ) throws -> Int32 {
    try Self.validate(logits)
    let logits = penalized(logits, history)
    guard options.temperature > 0 else { return Self.mostLikely(logits) }
    return draw(from: candidates(logits))
  }

  /// Whether the largest logit is all that counts, whatever was said before.
  var takesMostLikely: Bool { options.temperature == 0 && options.repetitionPenalty == 1 }

  /// The id of the largest logit, the lowest of equals.
  public static func mostLikely(_ logits: [Float]) -> Int32 {
    var best = 0
    for id in logits.indices where logits[id] > logits[best] { best = id }
    return Int32(best)
  }

  /// The ids that may be drawn and their shares, which need not sum to 1; for tests and displays.
  package func candidates(_ logits: [Float]) -> [(id: Int32, weight: Double)] {
    let largest = Double(logits.max() ?? 0)
    let temperature = Double(options.temperature)
    var kept = logits.enumerated().map { id, logit in
      (id: Int32(id), weight: exp((Double(logit) - largest) / temperature))
    }
    if options.topK > 0 || options.topP < 1 {
      kept.sort { $0.weight > $1.weight || $0.weight == $1.weight && $0.id < $1.id }
    }
    if options.topK > 0, options.topK < kept.count { kept.removeSubrange(options.topK...) }
    if options.topP < 1 { kept.removeSubrange(nucleusCount(kept)...) }
    // The largest weight is exp(0) = 1, so a weight is the share of the largest already.
    if options.minP > 0 { kept.removeAll { $0.weight < Double(options.minP) } }
    return kept
  }

  /// How many of the descending weights make up top-p of their sum; at least 1.
  private func nucleusCount(_ weights: [(id: Int32, weight: Double)]) -> Int {
    let wanted = Double(options.topP) * weights.reduce(0) { $0 + $1.weight }
    var sum = 0.0
    for (index, candidate) in weights.enumerated() {
      sum += candidate.weight
      if sum >= wanted { return index + 1 }
    }
    return weights.count
  }

  private mutating func draw(from candidates: [(id: Int32, weight: Double)]) -> Int32 {
    var rest = generator.nextUnit() * candidates.reduce(0) { $0 + $1.weight }
    for (id, weight) in candidates {
      rest -= weight
      if rest < 0 { return id }
    }
    // Rounding may leave a crumb; it belongs to the last candidate that has any weight.
    return candidates.last { $0.weight > 0 }?.id ?? 0
  }

  private func penalized(_ logits: [Float], _ history: some Sequence<Int32>) -> [Float] {
    guard options.repetitionPenalty != 1 else { return logits }
    var logits = logits
    for id in Set(history) where logits.indices.contains(Int(id)) {
      let logit = logits[Int(id)]
      logits[Int(id)] =
        logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty
    }
    return logits
  }

  static func validate(_ logits: [Float]) throws {
    var hasCandidate = false
    for (id, logit) in logits.enumerated() {
      if logit.isNaN || logit == .infinity {
        throw TransformerError.invalidLogits(problem: "hold \(logit) for id \(id)")
      }
      if logit > -.infinity { hasCandidate = true }
    }
    if !hasCandidate { throw TransformerError.invalidLogits(problem: "allow no id") }
  }
}
