/// Which cases of which kernels a verification runs.
///
/// A limited number of cases is spread over all of a kernel's cases, since its first ones are small and alike. A
/// first pass that runs none counts them. The chosen cases have the same numbers as in a full run.
struct CaseChoice {
  /// Only kernels whose names begin so; nil for all.
  private let prefix: String?
  /// The largest number of cases of each kernel; nil for all.
  private let limit: Int?
  /// Cases that came so far, by kernel.
  private var seen: [String: Int] = [:]
  /// Cases that there are; nil while they are counted.
  private var counts: [String: Int]?

  init(prefix: String?, limit: Int?) {
    self.prefix = prefix
    self.limit = limit
  }

  /// Whether cases of thousands of tokens are run.
  var allowsLongCases: Bool { limit == nil }

  /// Continues from a choice that has counted all cases.
  mutating func takeCounts(_ counted: CaseChoice) { counts = counted.seen }

  /// Whether any case of a kernel is run.
  func takes(_ kernel: String) -> Bool { kernel.hasPrefix(prefix ?? "") }

  /// Whether any case of the kernels with names of this beginning is run.
  func takesSome(beginningWith start: String) -> Bool {
    guard let prefix else { return true }
    return start.hasPrefix(prefix) || prefix.hasPrefix(start)
  }

  /// Whether the next case of a kernel is run.
  mutating func takesNext(of kernel: String) -> Bool {
    guard takes(kernel) else { return false }
    let number = seen[kernel, default: 0]
    seen[kernel] = number + 1
    guard let limit else { return true }
    guard let count = counts?[kernel] else { return false }
    // The middles of `limit` equal shares.
    return count <= limit
      || (0..<limit).contains { (2 * $0 + 1) * count / (2 * limit) == number }
  }
}
