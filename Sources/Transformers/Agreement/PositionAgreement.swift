import Compute

/// The next-token predictions of a reading and of a reference reading at one position.
public struct PositionAgreement: Sendable, Hashable, Codable {
  public var position: Int
  /// The token that follows; -1 behind the last one.
  public var next: Int32
  /// Kullback-Leibler divergence of the reading's next-token distribution from the reference's, in
  /// nats.
  public var divergence: Double
  /// The most likely next token of each.
  public var mostLikely: Int32
  public var referenceMostLikely: Int32
  /// Natural logarithm of the probability of the token that follows; 0 behind the last token.
  public var logProbability: Double
  public var referenceLogProbability: Double

  public init(
    position: Int, next: Int32, divergence: Double, mostLikely: Int32, referenceMostLikely: Int32,
    logProbability: Double, referenceLogProbability: Double
  ) {
    self.position = position
    self.next = next
    self.divergence = divergence
    self.mostLikely = mostLikely
    self.referenceMostLikely = referenceMostLikely
    self.logProbability = logProbability
    self.referenceLogProbability = referenceLogProbability
  }
}

extension Transformer {
  /// Compares two readings of a text at the same positions.
  ///
  /// Logits are made for ``scoredRows`` rows of each at a time and compared where the backend
  /// computes; four numbers a position come back.
  ///
  /// - Parameters:
  ///   - states: The reading that is judged.
  ///   - reference: The reading that it is compared with; of the same positions.
  ///   - ids: The text's tokens, of which those behind the positions are looked up.
  /// - Throws: ``TransformerError/invalidOption(name:value:allowed:)`` where the positions differ or lie
  ///   outside the text, `CancellationError`, `ComputeError`.
  public func agreement(
    of states: SampledStates, with reference: SampledStates, ids: [Int32],
    isCancelled: () -> Bool = { false }
  ) throws -> [PositionAgreement] {
    let positions = states.positions
    guard positions == reference.positions, positions.last ?? 0 < ids.count else {
      throw TransformerError.invalidOption(
        name: "the sampled positions", value: "\(positions.count) numbers",
        allowed: "those of the reference, each below the text's \(ids.count) tokens")
    }
    var found: [PositionAgreement] = []
    found.reserveCapacity(positions.count)
    for start in stride(from: 0, to: positions.count, by: scoredRows) {
      if isCancelled() { throw CancellationError() }
      let rows = start..<min(start + scoredRows, positions.count)
      let next = positions[rows].map { $0 + 1 < ids.count ? ids[$0 + 1] : -1 }
      let expected = try makeLogits(of: reference.hidden.slice(rows: rows))
      let logits = try makeLogits(of: states.hidden.slice(rows: rows))
      let divergences = try backend.divergences(of: logits, from: expected)
      let expectedScores = try backend.scoreTokens(logits: expected, next: next)
      let scores = try backend.scoreTokens(logits: logits, next: next)
      for (place, row) in rows.enumerated() {
        found.append(
          PositionAgreement(
            position: positions[row], next: next[place],
            divergence: Double(divergences[place]), mostLikely: scores.likeliest[place],
            referenceMostLikely: expectedScores.likeliest[place],
            logProbability: Double(scores.logProbabilities[place]),
            referenceLogProbability: Double(expectedScores.logProbabilities[place])))
      }
    }
    return found
  }
}
