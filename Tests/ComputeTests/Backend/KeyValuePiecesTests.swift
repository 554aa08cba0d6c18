import Compute
import Testing

@Suite struct KeyValuePiecesTests {
  @Test func `pieces cover the capacity in order, in whole units`() {
    for division in [
      KeyValuePieces.Division.equal(16), .equal(1), .bulkAndRest(0), .bulkAndRest(64),
    ] {
      for unit in [1, 3, 8, 8192] {
        for capacity in [1, 2, 7, 8, 9, 100, 4096, 119_000] {
          for shared in [[], [unit], [unit, 5 * unit]] where shared.last ?? 0 < capacity {
            let pieces = KeyValuePieces(
              behind: shared, capacity: capacity, unit: unit, division: division)
            var end = 0
            for range in pieces.ranges {
              #expect(range.lowerBound == end && !range.isEmpty)
              #expect(range.upperBound.isMultiple(of: unit))
              end = range.upperBound
            }
            #expect(end == pieces.capacity && end >= capacity && end < capacity + unit)
            #expect(pieces.ranges.prefix(shared.count).map(\.upperBound) == shared)
            #expect(pieces.filledEnd(by: end) == end)
            #expect(pieces.filledEnd(by: end - 1) < end)
            #expect(pieces.filled(by: 0) == 0 && pieces.filledEnd(by: 0) == 0)
          }
        }
      }
    }
  }

  @Test func `a long sequence has as many pieces as were asked for, and a bulk of seven eighths`() {
    #expect(
      KeyValuePieces(capacity: 16_384, unit: 8, division: .equal(16)).ranges
        == (0..<16).map { 1024 * $0..<1024 * ($0 + 1) })
    #expect(
      KeyValuePieces(capacity: 16 * 8192 - 5, unit: 8192, division: .bulkAndRest(0)).ranges
        == [0..<14 * 8192, 14 * 8192..<16 * 8192])
    #expect(
      KeyValuePieces(behind: [8192], capacity: 9 * 8192, unit: 8192, division: .bulkAndRest(0))
        .ranges
        == [0..<8192, 8192..<8 * 8192, 8 * 8192..<9 * 8192])
    // A long answer behind 118,000 tokens.
    #expect(
      KeyValuePieces(capacity: 145_000, unit: 8192, division: .bulkAndRest(118_000)).ranges
        == [0..<14 * 8192, 14 * 8192..<18 * 8192])
  }
}
