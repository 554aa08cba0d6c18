/// Counts what a search takes in dense passes of its samples: 1 is the time of reading all of them once
/// with dense attention, validating ones included.
public struct SearchPasses: Sendable, Hashable {
  /// The most that may be taken.
  public let limit: Double
  /// Seconds of the dense passes.
  public internal(set) var dense = 0.0
  /// Seconds of measuring heads, beside a dense pass.
  public internal(set) var probing = 0.0
  /// Seconds of sparse readings of the samples that choose, and of those that validate, comparing
  /// logits included.
  public internal(set) var choosing = 0.0
  public internal(set) var validating = 0.0
  /// Seconds before: compiling kernels, first use. They are in no figure of passes.
  public internal(set) var warmingUp = 0.0

  init(limit: Double) { self.limit = limit }

  /// Everything counted / dense.
  public var used: Double { dense > 0 ? (dense + probing + choosing + validating) / dense : 0 }

  /// Seconds that are left.
  var left: Double { limit * dense - dense - probing - choosing - validating }
}
