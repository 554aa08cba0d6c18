/// Which rows of a prompt recall is measured on.
public enum RecallRows {
  /// Rows spread evenly over the part of the prompt that is beyond sink and window.
  public static let spread = 256
  /// Rows at the end of the prompt, all of them.
  public static let last = 64

  /// The sampled positions of a prompt, ascending and distinct: 256 rows spread evenly over those
  /// at `sinkAndWindow` and after it, and the last 64.
  ///
  /// A row before sink + window sees only keys that every pattern computes, so it says nothing. If
  /// the prompt ends before, the rows are spread over all of it.
  public static func positions(tokens: Int, sinkAndWindow: Int) -> [Int] {
    positions(in: 0..<tokens, from: sinkAndWindow, spread: spread, last: last)
  }

  /// The same for some rows of a prompt: `spread` of them over those at `first` and after it, and the
  /// `last` ones.
  package static func positions(
    in rows: Range<Int>, from first: Int, spread: Int, last: Int
  ) -> [Int] {
    let first = first < rows.upperBound ? max(first, rows.lowerBound) : rows.lowerBound
    let beyond = rows.upperBound - first
    let count = min(spread, beyond)
    let even = (0..<count).map { first + (2 * $0 + 1) * beyond / (2 * count) }
    let tail = max(rows.lowerBound, rows.upperBound - last)
    return even.filter { $0 < tail } + (tail..<rows.upperBound)
  }
}
