import Compute
package import SparseAttention

/// The rows of a text on which recall is measured, and the chunks in which it is estimated.
package struct SampledRows: Sendable, Hashable {
  /// Rows that are spread along the whole text.
  static let spread = 256
  /// Rows at its end that are all taken.
  static let last = 64

  /// Ascending, distinct.
  package let positions: [Int]
  /// Consecutive ranges, cut at absolute multiples; each is estimated by its own last rows.
  package let chunks: [Range<Int>]
  package let tokens: Int

  /// - Parameter chunk: tokens of a chunk, a multiple of the backend's tile rows; nil: the text is
  ///   one chunk.
  package init(tokens: Int, chunk: Int?) {
    self.tokens = tokens
    let spread = (0..<Self.spread).map { $0 * tokens / Self.spread }
    positions = Set(spread + (max(0, tokens - Self.last)..<tokens)).sorted()
    let size = chunk ?? tokens
    chunks = stride(from: 0, to: tokens, by: max(size, 1)).map { $0..<min($0 + size, tokens) }
  }

  /// Indices of ``positions`` that lie in a range of positions.
  package func places(in range: Range<Int>) -> Range<Int> {
    positions.partitioningIndex {
      $0 >= range.lowerBound
    }..<positions.partitioningIndex { $0 >= range.upperBound }
  }

  /// Indices of the rows on which output errors are measured: every fourth, since sums of values cost more
  /// than sums of masses.
  package func outputPlaces(in range: Range<Int>) -> [Int] {
    places(in: range).filter(Self.countsForOutput)
  }

  static func countsForOutput(_ place: Int) -> Bool { place % 4 == 0 }

  /// The number of a place among those on which output errors are measured.
  static func outputRow(ofPlace place: Int) -> Int { place / 4 }

  /// Places whose rows count for a pattern: those beyond what it computes anyway, and the last ones.
  package func counted(for pattern: HeadPattern) -> Range<Int> {
    let first = min(pattern.sinkAndWindow, max(0, tokens - Self.last))
    return positions.partitioningIndex { $0 >= first }..<positions.count
  }
}
