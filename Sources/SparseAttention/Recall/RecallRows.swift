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
    guard tokens > 0 else { return [] }
    let first = sinkAndWindow < tokens ? max(sinkAndWindow, 0) : 0
    let beyond = tokens - first
    let count = min(spread, beyond)
    let even = (0..<count).map { first + (2 * $0 + 1) * beyond / (2 * count) }
    let tail = max(0, tokens - last)
    return even.filter { $0 < tail } + (tail..<tokens)
  }
}
