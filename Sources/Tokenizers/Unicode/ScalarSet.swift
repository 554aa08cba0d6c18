/// A set of Unicode scalar values as ascending ranges that neither overlap nor touch.
struct ScalarSet: Sendable, Hashable {
  static let largestScalar: UInt32 = 0x10FFFF

  private(set) var ranges: [ClosedRange<UInt32>] = []

  /// The empty set.
  init() {}

  /// The union of any ranges in any order.
  init(_ ranges: [ClosedRange<UInt32>]) {
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound + 1 {
        self.ranges[self.ranges.count - 1] =
          last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  init(_ scalars: UInt32...) { self.init(scalars.map { $0...$0 }) }

  static let all = ScalarSet([0...largestScalar])

  var isEmpty: Bool { ranges.isEmpty }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

  var inverted: ScalarSet {
    var result = ScalarSet()
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { result.ranges.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= Self.largestScalar { result.ranges.append(next...Self.largestScalar) }
    return result
  }

  func intersection(_ other: ScalarSet) -> ScalarSet {
    var result = ScalarSet()
    var (left, right) = (0, 0)
    while left < ranges.count, right < other.ranges.count {
      let (first, second) = (ranges[left], other.ranges[right])
      let lower = max(first.lowerBound, second.lowerBound)
      let upper = min(first.upperBound, second.upperBound)
      if lower <= upper { result.ranges.append(lower...upper) }
      if first.upperBound <= second.upperBound { left += 1 } else { right += 1 }
    }
    return result
  }

  /// By byte, 256 entries: whether the UTF-8 of a member begins with it.
  var firstBytes: [Bool] {
    var found = [Bool](repeating: false, count: 256)
    for range in ranges {
      for byte in UTF8Bytes.lead(range.lowerBound)...UTF8Bytes.lead(range.upperBound) {
        found[Int(byte)] = true
      }
    }
    return found
  }

  func contains(_ scalar: UInt32) -> Bool {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].contains(scalar)
  }
}

extension UnicodeData {
  /// The scalars of a transition table whose value is chosen.
  static func scalars(_ table: StaticString, where isChosen: (Int) -> Bool) -> ScalarSet {
    var ranges: [ClosedRange<UInt32>] = []
    var start: UInt32?
    for (scalar, value) in transitions(table) + [(0x110000, -1)] {
      let scalar = UInt32(scalar)
      if value >= 0, isChosen(value) {
        if start == nil { start = scalar }
      } else if let first = start {
        ranges.append(first...scalar - 1)
        start = nil
      }
    }
    return ScalarSet(ranges)
  }
}
