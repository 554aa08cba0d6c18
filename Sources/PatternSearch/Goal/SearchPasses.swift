/// Counts the time of a search in dense passes: 1 is the time of reading all samples once with dense
/// attention, validating samples included.
public struct SearchPasses: Sendable, Hashable {
  /// The limit.
  public let limit: Double
  /// Seconds of the dense passes.
  public internal(set) var dense = 0.0
  /// Seconds of measuring heads, beside a dense pass.
  public internal(set) var probing = 0.0
  /// Seconds of sparse readings of the choosing and of the validating samples, including the comparison of
  /// logits.
  public internal(set) var choosing = 0.0
  public internal(set) var validating = 0.0
  /// Seconds of the warm-up: compiling kernels, first use. Not counted as passes.
  public internal(set) var warmingUp = 0.0

  init(limit: Double) { self.limit = limit }

  /// Everything counted / dense.
  public var used: Double { dense > 0 ? (dense + probing + choosing + validating) / dense : 0 }

  /// Seconds that remain.
  var left: Double { limit * dense - dense - probing - choosing - validating }
}
