/// Intervals of shares of right answers.
public enum Proportion {
  /// The share with its 95 % score interval (Wilson, 1927): has width also where all answers are right
  /// or none, unlike a bootstrap; NaN without answers.
  public static func wilson(right: Int, of count: Int) -> Bootstrap.Estimate {
    guard count > 0 else { return Bootstrap.Estimate(mean: .nan, low: .nan, high: .nan) }
    let z = 1.959963984540054
    let n = Double(count)
    let share = Double(right) / n
    let middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    let half =
      z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
    // Rounding must not leave out the share itself.
    return Bootstrap.Estimate(
      mean: share, low: right == 0 ? 0 : middle - half, high: right == count ? 1 : middle + half)
  }

  /// The mean of scores: Wilson's interval where each is 0 or 1, else a bootstrap's.
  public static func interval(of scores: [Double]) -> Bootstrap.Estimate {
    scores.allSatisfy { $0 == 0 || $0 == 1 }
      ? wilson(right: scores.count { $0 == 1 }, of: scores.count) : Bootstrap.mean(scores)
  }
}
