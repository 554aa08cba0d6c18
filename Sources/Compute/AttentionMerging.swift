#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Attention over the union of disjoint sets of keys, from the attention over each.
///
/// With outputs a and b and log-sum-exps x and y it is (e^x a + e^y b) / (e^x + e^y), and its own
/// log-sum-exp ln(e^x + e^y). A set without keys, with log-sum-exp -infinity, has no effect.
package enum AttentionMerging {
  /// The weights of both outputs, and the log-sum-exp of the union.
  package static func weights(
    _ x: Float, _ y: Float
  ) -> (x: Float, y: Float, logSumExp: Float) {
    let largest = max(x, y)
    if x == -.infinity, y == -.infinity { return (0, 0, -.infinity) }
    let (left, right) = (exp(Double(x - largest)), exp(Double(y - largest)))
    let sum = left + right
    return (Float(left / sum), Float(right / sum), largest + Float(log(sum)))
  }

  /// Output and log-sum-exps of the union, for any number of rows and heads: as many outputs a
  /// log-sum-exp as divide evenly.
  static func merged(
    _ a: (o: [Float], logSumExp: [Float]), _ b: (o: [Float], logSumExp: [Float])
  ) -> (o: [Float], logSumExp: [Float]) {
    let width = a.o.count / max(1, a.logSumExp.count)
    var result = b
    for index in a.logSumExp.indices {
      let weights = weights(a.logSumExp[index], b.logSumExp[index])
      result.logSumExp[index] = weights.logSumExp
      for element in index * width..<(index + 1) * width {
        result.o[element] = weights.x * a.o[element] + weights.y * b.o[element]
      }
    }
    return result
  }
}
