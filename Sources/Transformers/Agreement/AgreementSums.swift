#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Sums over positions from which the figures of agreement come; sums of several texts add up.
public struct AgreementSums: Sendable, Hashable, Codable {
  public var positions = 0
  /// Of Kullback-Leibler divergences, in nats.
  public var divergence = 0.0
  /// Positions where both readings have the same most likely token.
  public var same = 0
  /// Positions that a token follows.
  public var scored = 0
  /// Negative natural logarithms of the probabilities of those tokens.
  public var loss = 0.0
  public var referenceLoss = 0.0
  /// Positions where the most likely token is the one that follows.
  public var right = 0
  public var referenceRight = 0

  public init() {}

  public init(_ found: some Sequence<PositionAgreement>) {
    for position in found { add(position) }
  }

  public mutating func add(_ found: PositionAgreement) {
    positions += 1
    divergence += found.divergence
    same += found.mostLikely == found.referenceMostLikely ? 1 : 0
    guard found.next >= 0 else { return }
    scored += 1
    loss -= found.logProbability
    referenceLoss -= found.referenceLogProbability
    right += found.mostLikely == found.next ? 1 : 0
    referenceRight += found.referenceMostLikely == found.next ? 1 : 0
  }

  public static func += (left: inout AgreementSums, right: AgreementSums) {
    left.positions += right.positions
    left.divergence += right.divergence
    left.same += right.same
    left.scored += right.scored
    left.loss += right.loss
    left.referenceLoss += right.referenceLoss
    left.right += right.right
    left.referenceRight += right.referenceRight
  }

  /// The mean divergence in nats; NaN of no positions.
  public var meanDivergence: Double { divergence / Double(positions) }
  /// The share of positions with the same most likely token; NaN of no positions.
  public var sameShare: Double { Double(same) / Double(positions) }
  /// The reading's perplexity over the reference's, on the same tokens; NaN of no tokens.
  public var perplexityRatio: Double { exp((loss - referenceLoss) / Double(scored)) }
}
