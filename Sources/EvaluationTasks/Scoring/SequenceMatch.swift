/// Similarity of two texts as Python's `difflib.SequenceMatcher(None, a, b).ratio()` has it, character
/// by character, with its rule for popular characters of long texts.
enum SequenceMatch {
  /// 2 x matching characters / all characters; 1 for two empty texts. O(characters^2) where texts
  /// are alike.
  static func ratio(_ a: String, _ b: String) -> Double {
    let a = Array(a.unicodeScalars)
    let b = Array(b.unicodeScalars)
    guard a.count + b.count > 0 else { return 1 }
    return 2 * Double(matches(a, b)) / Double(a.count + b.count)
  }

  /// Characters in matching blocks: the longest common run, then the same to its left and right.
  private static func matches(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var places = Dictionary(grouping: b.indices) { b[$0] }
    if b.count >= 200 {
      // Characters that are more than one in a hundred begin no match.
      let popular = b.count / 100 + 1
      places = places.filter { $0.value.count <= popular }
    }
    var total = 0
    var pending = [(a: 0..<a.count, b: 0..<b.count)]
    while let part = pending.popLast() {
      let match = longestMatch(a, b, part.a, part.b, places)
      guard match.size > 0 else { continue }
      total += match.size
      pending.append((part.a.lowerBound..<match.a, part.b.lowerBound..<match.b))
      pending.append(
        (match.a + match.size..<part.a.upperBound, match.b + match.size..<part.b.upperBound))
    }
    return total
  }

  /// The longest common run within both ranges, of several the one that begins first in `a`, then in
  /// `b`; widened by equal neighbours at both ends.
  private static func longestMatch(
    _ a: [Unicode.Scalar], _ b: [Unicode.Scalar], _ inA: Range<Int>, _ inB: Range<Int>,
    _ places: [Unicode.Scalar: [Int]]
  ) -> (a: Int, b: Int, size: Int) {
    var best = (a: inA.lowerBound, b: inB.lowerBound, size: 0)
    // Lengths of the runs that end at the place before in `a`, by their end in `b`.
    var lengths: [Int: Int] = [:]
    for i in inA {
      var next: [Int: Int] = [:]
      for j in places[a[i]] ?? [] where inB.contains(j) {
        let length = (lengths[j - 1] ?? 0) + 1
        next[j] = length
        if length > best.size { best = (i - length + 1, j - length + 1, length) }
      }
      lengths = next
    }
    while best.a > inA.lowerBound, best.b > inB.lowerBound, a[best.a - 1] == b[best.b - 1] {
      best = (best.a - 1, best.b - 1, best.size + 1)
    }
    while best.a + best.size < inA.upperBound, best.b + best.size < inB.upperBound,
      a[best.a + best.size] == b[best.b + best.size]
    {
      best.size += 1
    }
    return best
  }
}
