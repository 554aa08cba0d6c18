/// How far logits are from what they should be, in shares of the largest logit at each position.
public struct LogitError: Sendable, Equatable {
  /// The largest difference at any position; infinite after NaN.
  public var worst = 0.0
  /// The root of the mean square of all differences.
  public var typical = 0.0

  static let none = LogitError()
  static let infinite = LogitError(worst: .infinity, typical: .infinity)

  /// `values` and `expected`: rows of `width` logits; infinite if they are not of one size.
  static func between(
    _ values: some Collection<Float>, _ expected: some Collection<Float>, width: Int
  ) -> LogitError {
    let (values, expected) = (Array(values), Array(expected))
    guard values.count == expected.count, width > 0, values.count % width == 0, !values.isEmpty
    else { return .infinite }
    var error = LogitError()
    var squares = 0.0
    for start in stride(from: 0, to: values.count, by: width) {
      var largest = Double.leastNormalMagnitude
      var worst = 0.0
      var rowSquares = 0.0
      for index in start..<start + width {
        let difference = Double(values[index]) - Double(expected[index])
        guard difference.isFinite else { return .infinite }
        largest = max(largest, abs(Double(expected[index])))
        worst = max(worst, abs(difference))
        rowSquares += difference * difference
      }
      error.worst = max(error.worst, worst / largest)
      squares += rowSquares / (largest * largest)
    }
    error.typical = (squares / Double(values.count)).squareRoot()
    return error
  }
}

/// What a comparison allows.
public struct LogitTolerance: Sendable, Equatable {
  public var worst: Double
  public var typical: Double

  /// The same numbers, bit for bit.
  static let exact = LogitTolerance(worst: 0, typical: 0)
  /// Float32 arithmetic in another order.
  static let float32 = LogitTolerance(worst: 1e-3, typical: 1e-3)

  /// For a device whose rounding alone moved the logits of the CPU by `rounding`.
  ///
  /// Two runs that round alike but not in the same order are as far from each other as both are from
  /// the exact result; their typical errors, sums of many, differ by little. A device also rounds
  /// attention weights, which the CPU does not: half as much again is for that. The largest error is one
  /// draw from a heavy tail, at the one position whose logits are nearly undecided: on an H100 it was up
  /// to 2.3 times the CPU's where the typical one was 1.4 times. It is the typical error that finds faults.
  static func rounding(_ rounding: LogitError) -> LogitTolerance {
    LogitTolerance(
      worst: max(3 * rounding.worst, float32.worst),
      typical: max(1.5 * rounding.typical, float32.typical))
  }

  func allows(_ error: LogitError) -> Bool {
    error.worst <= worst && error.typical <= typical
  }
}
