#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An attention sink joins the softmax of attention that was computed without it, by its log-sum-exp.
///
/// With the output o over keys of log-sum-exp x, and a sink s, whose value is zero, attention over both is
/// o * e^x / (e^x + e^s), and its log-sum-exp ln(e^x + e^s). So no attention kernel has to know of sinks.
package enum AttentionSinks {
  /// The factor of the output, and the log-sum-exp of keys and sink. Without keys the factor is 0.
  package static func weights(_ logSumExp: Float, sink: Float) -> (factor: Float, logSumExp: Float)
  {
    let weights = AttentionMerging.weights(logSumExp, sink)
    return (weights.x, weights.logSumExp)
  }
}

extension KeyValueLayer {
  /// The sinks, where there are any, checked against the heads that they are for.
  ///
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)``.
  package func sinkLogits(of shape: AttentionShape) throws -> Tensor? {
    guard let sinks else { return nil }
    try require(
      sinks.shape == [shape.queryHeads] && sinks.type == .float32, "attention",
      "sinks \(sinks.type) \(sinks.shape) for \(shape.queryHeads) heads")
    return sinks
  }
}
