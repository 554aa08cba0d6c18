import Compute

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
    let logits = penalized(logits, history)
    try Self.validate(logits)
    guard let draw else { return Self.mostLikely(logits) }
    return draw.choose(from: logits[...], random: generator.next()) ?? Self.mostLikely(logits)
  }

  /// The same from logits where a backend computes, which become penalized; of them only the id comes
  /// back.
  ///
  /// - Parameters:
  ///   - logits: [1, vocabulary] float32.
  ///   - seen: Distinct ids seen so far; only the repetition penalty looks at them.
  mutating func sample(
    _ logits: Tensor, seen: some Sequence<Int32>, on backend: any Backend
  ) throws -> Int32 {
    try penalize(seen, in: logits, on: backend)
    let chosen =
      try draw.map { try backend.draw($0, from: logits, random: [generator.next()]) }
      ?? backend.mostLikely(logits)
    if let id = chosen.first ?? nil { return id }
    let values = try backend.read(logits)
    try Self.validate(values)
    return Self.mostLikely(values)
  }

  /// Applies the repetition penalty to logits where a backend computes, [1, vocabulary] float32.
  func penalize(
    _ seen: some Sequence<Int32>, in logits: Tensor, on backend: any Backend
  ) throws {
    guard looksBack else { return }
    let ids = seen.filter { (0..<logits.rowCount).contains(Int($0)) }
    try backend.penalize(ids, in: logits, by: options.repetitionPenalty)
  }

  /// The 64 random bits of the next draw.
  mutating func nextBits() -> UInt64 { generator.next() }

  /// What chance has to do with it; nil if nothing.
  var draw: TokenDraw? {
    guard options.temperature > 0 else { return nil }
    return TokenDraw(
      temperature: options.temperature, topK: options.topK, topP: options.topP, minP: options.minP)
  }

  /// Whether it matters which ids were seen before.
  var looksBack: Bool { options.repetitionPenalty != 1 }

  /// The id of the largest logit, the lowest of equals.
  public static func mostLikely(_ logits: [Float]) -> Int32 {
    var best = 0
    for id in logits.indices where logits[id] > logits[best] { best = id }
    return Int32(best)
  }

  private func penalized(_ logits: [Float], _ history: some Sequence<Int32>) -> [Float] {
    guard looksBack else { return logits }
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
