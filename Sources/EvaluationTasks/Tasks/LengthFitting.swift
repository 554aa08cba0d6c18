/// Finds how much haystack fits a prompt.
package enum LengthFitting {
  /// The largest size in 0 ... `maximum` whose tokens are at most `limit`, if tokens grow with the
  /// size. Tokenization breaks this by single tokens, so the returned size was counted, not computed.
  ///
  /// Interpolates between the largest size known to fit and the smallest known not to, and halves
  /// (or quadruples) every third step: about six counts instead of the twenty of bisection.
  ///
  /// - Parameter rate: tokens that one unit is expected to add.
  /// - Returns: nil if not even size 0 fits.
  package static func largestSize(
    upTo maximum: Int, limit: Int, rate: Double, tokens: (Int) throws -> Int
  ) rethrows -> Int? {
    let empty = try tokens(0)
    guard empty <= limit else { return nil }
    guard maximum > 0 else { return 0 }
    var fitting = (size: 0, tokens: empty)
    var failing: (size: Int, tokens: Int)?
    var slope = max(rate, 1e-6)
    var step = 0
    while fitting.size < maximum, (failing?.size ?? .max) - fitting.size > 1 {
      step += 1
      var size: Int
      if step % 3 == 0 {
        let end = failing?.size ?? min(maximum + 1, 7 * fitting.size + 2)
        size = fitting.size + (end - fitting.size) / 2
      } else {
        let gap = Double(limit - fitting.tokens) / slope
        size = fitting.size + Int(min(gap, Double(maximum - fitting.size)))
      }
      size = min(max(size, fitting.size + 1), (failing?.size ?? (maximum + 1)) - 1)
      let count = try tokens(size)
      if count <= limit {
        fitting = (size, count)
      } else {
        failing = (size, count)
      }
      let low = failing == nil ? (size: 0, tokens: empty) : fitting
      let high = failing ?? fitting
      if high.size > low.size, high.tokens > low.tokens {
        slope = Double(high.tokens - low.tokens) / Double(high.size - low.size)
      }
    }
    return fitting.size
  }
}
