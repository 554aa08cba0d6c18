/// The result of comparing one kernel with its reference, over all its cases.
public struct KernelCheck: Sendable {
  /// The operation, and the storage type where that matters: "attention bfloat16".
  public let kernel: String
  public internal(set) var cases = 0
  /// Largest error of any case as a share of its tolerance; infinite after NaN or a thrown error.
  public internal(set) var worst = 0.0
  /// The case with the largest error, and what went wrong if it is not just a number.
  public internal(set) var worstCase = ""

  public var passed: Bool { worst <= 1 }

  init(kernel: String) {
    self.kernel = kernel
  }

  mutating func add(_ name: String, error: Double, tolerance: Double) {
    cases += 1
    // A NaN must count as a miss, and every comparison with it is false.
    let share = error.isNaN ? .infinity : error / tolerance
    if share > worst || worstCase.isEmpty {
      worst = share
      worstCase = name
    }
  }
}

extension KernelCheck {
  /// max |actual - expected| / max |expected|, in Double. Infinite if a value is NaN or infinite
  /// where it should not be, or if the counts differ; equal infinities agree.
  package static func relativeError(_ actual: [Float], _ expected: [Float]) -> Double {
    guard actual.count == expected.count else { return .infinity }
    var largestError = 0.0
    var largest = Double.leastNormalMagnitude
    for (actual, expected) in zip(actual, expected) {
      if expected.isFinite { largest = max(largest, abs(Double(expected))) }
      if actual == expected { continue }
      let error = abs(Double(actual) - Double(expected))
      guard error.isFinite else { return .infinity }
      largestError = max(largestError, error)
    }
    return largestError / largest
  }
}
