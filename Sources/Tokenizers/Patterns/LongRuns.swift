/// What is known of the long runs of one set in a text: where they end, and which of their ends have failed.
struct LongRuns {
  /// Places that one entry speaks of.
  static let block = 16

  /// By block of places: the end of the run in which the block's first place lies; 0 where not known.
  private var ends: [Int32] = []
  /// By the block in which a run of at least a block ends: from where on its ends have failed, plus one.
  private var failedFrom: [Int32] = []

  /// The end of the run from `position`. Looks at each place about once over all calls.
  ///
  /// - Parameter count: Places of the text.
  @inline(__always)
  mutating func end(
    from position: Int, count: Int, isInRun: (_ place: Int) -> Bool
  ) -> Int {
    if ends.isEmpty {
      let blocks = count / Self.block + 1
      ends = [Int32](repeating: 0, count: blocks)
      failedFrom = [Int32](repeating: 0, count: blocks)
    }
    var end = position
    while end < count, isInRun(end) {
      if end % Self.block == 0, ends[end / Self.block] > 0 {
        end = Int(ends[end / Self.block])
        break
      }
      end += 1
    }
    var block = (position + Self.block - 1) / Self.block
    while block * Self.block < end, ends[block] == 0 {
      ends[block] = Int32(truncatingIfNeeded: end)
      block += 1
    }
    return end
  }

  /// The last end of a run that has not been seen to fail, or one before the first end.
  ///
  /// - Parameters:
  ///   - low: The fewest places of a run.
  ///   - end: Of the longest run.
  func untriedEnd(from position: Int, low: Int, end: Int) -> Int {
    guard end - position >= Self.block else { return end }
    let failedFrom = Int(failedFrom[end / Self.block])
    return failedFrom == 0 ? end : max(position + low - 1, min(end, failedFrom - 2))
  }

  /// Remembers that these ends of a run have failed: so they will for one that begins further right.
  mutating func noteFailedEnds(_ ends: ClosedRange<Int>) {
    guard ends.count > Self.block else { return }
    let block = ends.upperBound / Self.block
    let known = failedFrom[block]
    if known == 0 || Int(known) > ends.lowerBound + 1 {
      failedFrom[block] = Int32(truncatingIfNeeded: ends.lowerBound + 1)
    }
  }
}
