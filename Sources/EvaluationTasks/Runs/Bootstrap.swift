import MInference

/// Confidence intervals by resampling (Efron, "Bootstrap methods", 1979), the same in every run.
public enum Bootstrap {
  /// A mean with its 95 % interval.
  public struct Estimate: Sendable, Hashable {
    public var mean: Double
    public var low: Double
    public var high: Double

    public init(mean: Double, low: Double, high: Double) {
      self.mean = mean
      self.low = low
      self.high = high
    }

    /// Whether the interval holds `value`.
    public func contains(_ value: Double) -> Bool { low <= value && value <= high }
  }

  static let resamples = 5000

  package static func average(_ values: [Double]) -> Double {
    values.isEmpty ? .nan : values.reduce(0, +) / Double(values.count)
  }

  /// The mean of `values` with its percentile interval; NaN without values.
  ///
  /// All values alike give an interval without width: the sample says nothing about others.
  public static func mean(_ values: [Double], seed: UInt64 = 1) -> Estimate {
    estimate(of: values.count, seed: seed) { indices in
      indices.reduce(0) { $0 + values[$1] } / Double(indices.count)
    }
  }

  /// The mean of right - left over pairs from the same prompts.
  public static func difference(
    _ left: [Double], _ right: [Double], seed: UInt64 = 1
  ) -> Estimate {
    mean(zip(left, right).map { $1 - $0 }, seed: seed)
  }

  /// A statistic of `count` observations, resampled with replacement: its value on all of them, and
  /// the 2.5th and 97.5th percentiles of its values on the resamples.
  static func estimate(
    of count: Int, seed: UInt64, statistic: ([Int]) -> Double
  ) -> Estimate {
    guard count > 0 else { return Estimate(mean: .nan, low: .nan, high: .nan) }
    let value = statistic(Array(0..<count))
    guard count > 1 else { return Estimate(mean: value, low: value, high: value) }
    var generator = SeededGenerator(seed: seed)
    var indices = [Int](repeating: 0, count: count)
    let drawn = (0..<resamples).map { _ in
      for position in indices.indices { indices[position] = generator.next(below: count) }
      return statistic(indices)
    }.sorted()
    return Estimate(
      mean: value, low: drawn[Int(0.025 * Double(resamples))],
      high: drawn[Int(0.975 * Double(resamples))])
  }
}
