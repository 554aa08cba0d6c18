/// The top-k selection of the estimators.
///
/// Deterministic in the presence of rounding. Backends sum in different orders, so scores that
/// differ by less than ``tieWidth`` must count as equal. "Within 1e-5" is not an equivalence relation, so
/// ties are defined at the cut alone. Let T be the k-th largest score. All scores
/// above T + tieWidth / 2 are taken; those within tieWidth / 2 of T, which all tie with one another,
/// fill the remaining places, lowest index first. Indices are columns, offsets or blocks, so a tie
/// goes to the lower column and the nearer offset. Scores that are not numbers come last.
public enum LargestScores {
  /// Scores within this distance count as ties.
  public static let tieWidth = 1e-5

  /// The indices of the `count` largest of `scores`, ascending; all of them if there are fewer.
  ///
  /// - Parameter forced: the first `forced` indices are taken before any other, and count.
  ///
  /// O(scores): the k-th largest is found by radix selection.
  public static func indices(of scores: [Float], count: Int, forced: Int = 0) -> [Int32] {
    let count = min(max(count, 0), scores.count)
    let first = min(forced, count)
    var chosen = (0..<Int32(first)).map { $0 }
    guard count > first else { return chosen }
    guard count < scores.count else { return (0..<Int32(count)).map { $0 } }
    chosen.reserveCapacity(count)
    scores.withUnsafeBufferPointer { all in
      let rest = UnsafeBufferPointer(rebasing: all[first...])
      let wanted = count - first
      let cut = Double(value(ofKey: kthLargestKey(rest, wanted)))
      let above = cut + tieWidth / 2
      let below = cut - tieWidth / 2
      let clear = rest.reduce(0) { $0 + (Double(number($1)) > above ? 1 : 0) }
      var places = wanted - clear
      for (index, score) in rest.enumerated() {
        let score = Double(number(score))
        if score > above {
          chosen.append(Int32(first + index))
        } else if places > 0, score >= below {
          chosen.append(Int32(first + index))
          places -= 1
        }
      }
    }
    return chosen
  }

  /// How many of the largest scores hold a share of all mass; the first `forced` count before any other.
  ///
  /// Scores are masses: they are rounded to whole numbers of 2^-30 of `total`, so that sums are exact; what is not
  /// above 0 is 0. The share is of what the scores add up to.
  ///
  /// - Parameter hasSink: Whether what the scores lack of `total` is a sink's, which nobody can miss: it counts
  ///   as held.
  ///
  /// O(n log n) of the scores above 0.
  public static func count(
    of scores: [Float], holding share: Float, of total: Float, forced: Int = 0,
    hasSink: Bool = false
  ) -> Int {
    let unit = 1_073_741_824 / total
    let masses = scores.map { $0 > 0 ? UInt64(min($0 * unit, 1_073_741_824) + 0.5) : 0 }
    let first = min(forced, scores.count)
    let all = masses.reduce(0, +)
    let sink = hasSink ? 1_073_741_824 - min(all, 1_073_741_824) : 0
    let wholly = UInt64((share * Float(all + sink)).rounded(.up))
    let enough = min(all, wholly - min(wholly, sink))
    var held = masses[..<first].reduce(0, +)
    guard held < enough else { return first }
    var count = first
    for mass in masses[first...].lazy.filter({ $0 > 0 }).sorted(by: >) {
      held += mass
      count += 1
      if held >= enough { break }
    }
    return count
  }

  private static func number(_ score: Float) -> Float { score.isNaN ? -.infinity : score }

  /// Unsigned integers in the order of the floats.
  private static func key(_ score: Float) -> UInt32 {
    let bits = number(score).bitPattern
    return bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
  }

  private static func value(ofKey key: UInt32) -> Float {
    Float(bitPattern: key >> 31 == 1 ? key & 0x7FFF_FFFF : ~key)
  }

  /// The k-th largest key, k in 1 ... scores.count: digits from the top, 11, 11 and 10 bits.
  private static func kthLargestKey(_ scores: UnsafeBufferPointer<Float>, _ k: Int) -> UInt32 {
    var prefix: UInt32 = 0
    var rank = k
    var unresolved: UInt32 = 32
    for digit: UInt32 in [11, 11, 10] {
      let shift = unresolved - digit
      var counts = [Int](repeating: 0, count: 1 << Int(digit))
      for score in scores {
        let key = key(score)
        // The first digit has no prefix; a shift by the full width gives 0.
        if key >> unresolved == prefix { counts[Int(key >> shift & (1 << digit - 1))] += 1 }
      }
      var bucket = counts.count - 1
      while counts[bucket] < rank {
        rank -= counts[bucket]
        bucket -= 1
      }
      prefix = prefix << digit | UInt32(bucket)
      unresolved = shift
    }
    return prefix
  }
}
