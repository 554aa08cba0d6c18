#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The Pareto frontier of candidates that all heads share: each costs more than the one before and loses
/// less. The last one is dense attention.
package struct UniformFrontier {
  package struct Entry: Hashable {
    /// Its index among the candidates.
    package let candidate: Int
    /// Predicted seconds of attention of the probed text.
    package let seconds: Double
    /// The sum of the heads' errors.
    package let error: Double
  }

  package let entries: [Entry]

  /// - Parameters:
  ///   - seconds: Predicted seconds of each candidate.
  ///   - errors: Its error. Dense attention's is 0.
  package init(seconds: [Double], errors: [Double]) {
    let sorted = seconds.indices.sorted {
      (seconds[$0], errors[$0], $0) < (seconds[$1], errors[$1], $1)
    }
    var entries: [Entry] = []
    for candidate in sorted {
      // The frontier ends with the first candidate that loses nothing.
      if let last = entries.last, errors[candidate] >= last.error || last.error == 0 { continue }
      entries.append(
        Entry(
          candidate: candidate, seconds: seconds[candidate], error: errors[candidate]))
    }
    self.entries = entries
  }

  /// The entries that were tried: each one's figure divided by the goal's limit, and whether it keeps the
  /// goal.
  package typealias Tried = [Int: (use: Double, isKept: Bool)]

  /// The entry to try next when as little time as possible is wanted; nil: none is better than what was
  /// found. The last entry needs no trial: it loses nothing.
  package func nextForLoss(_ tried: Tried) -> Int? {
    let end = entries.count - 1
    let best = tried.filter(\.value.isKept).keys.min() ?? end
    let first = (tried.filter { !$0.value.isKept }.keys.max() ?? -1) + 1
    guard first < best else { return nil }
    if tried.isEmpty { return (first + best) / 2 }
    if let next = (first..<best).first(where: { predictedLoss($0, tried) <= 1 }) { return next }
    // No entry is predicted to keep the goal. The most careful rule is still tried before sparse attention
    // is given up, and so is a rule predicted to miss by less than the prediction's error.
    return best == end || predictedLoss(best - 1, tried) <= 1.3 ? best - 1 : nil
  }

  /// The entry to try next when as little loss as possible is wanted; nil: none is better.
  ///
  /// - Parameter predictedUse: Of an entry's time, before any was tried.
  package func nextForTime(_ tried: Tried, predictedUse: (Entry) -> Double) -> Int? {
    let best = tried.filter(\.value.isKept).keys.max() ?? -1
    let end = tried.filter { !$0.value.isKept }.keys.min() ?? entries.count
    guard best + 1 < end else { return nil }
    // Times that were measured correct the prediction of those near them.
    func use(_ entry: Int) -> Double {
      let predicted = predictedUse(entries[entry])
      guard let near = nearest(to: entry, tried) else { return predicted }
      return predicted * near.use / max(predictedUse(entries[near.entry]), 1e-9)
    }
    if let next = (best + 1..<end).last(where: { use($0) <= 1 }) { return next }
    return best < 0 ? 0 : nil
  }

  /// The power with which divergence grows with errors, before it is measured.
  static let power = 1.5

  /// The predicted loss of an entry divided by the goal's limit. Divergence is taken to grow with a power of
  /// the error. Two tried entries determine the power; with one it is 1.5, between linear and quadratic.
  func predictedLoss(_ entry: Int, _ tried: Tried) -> Double {
    let near = tried.keys.sorted { (abs($0 - entry), $0) < (abs($1 - entry), $1) }
    guard let first = near.first, entries[first].error > 0, entries[entry].error > 0 else {
      return entries[entry].error == 0 ? 0 : 1
    }
    // A ratio of perplexities may lie below one; it still says that little was lost.
    func use(_ entry: Int) -> Double { max(tried[entry]?.use ?? 1, 0.05) }
    var power = Self.power
    if near.count > 1, entries[near[1]].error > 0, entries[near[1]].error != entries[first].error {
      power =
        log(use(near[1]) / use(first)) / log(entries[near[1]].error / entries[first].error)
      power = power.isNaN ? Self.power : min(max(power, 0.3), 4)
    }
    return use(first) * pow(entries[entry].error / entries[first].error, power)
  }

  private func nearest(to entry: Int, _ tried: Tried) -> (entry: Int, use: Double)? {
    tried.min { (abs($0.key - entry), $0.key) < (abs($1.key - entry), $1.key) }
      .map { ($0.key, $0.value.use) }
  }
}
