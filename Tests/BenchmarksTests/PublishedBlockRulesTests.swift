import Benchmarks
import SparseAttention
import Testing

/// Pairs of the published kernels' rules.
@Suite struct PublishedBlockRulesTests {
  /// Rows of 64 against blocks of 64 for the diagonal alone: all of its square counts.
  private static func diagonal(_ keys: Int) -> Int { keys / 64 * 64 * 64 }

  @Test func `the diagonal alone is a block for each block of rows`() {
    let bands = BandSelection(slashOffsets: [0], columns: [])
    #expect(PublishedBlockRules.pairs(bands, keys: 640) == Self.diagonal(640))
  }

  @Test func `an offset is a block of 64 keys, two in a run of 64 are joined to two blocks`() {
    // Offset 200 of rows 256 ..< 320: keys 56 ..< 120. Rows before 200 have none; those whose block would
    // begin before the first key take the first 64.
    let one = BandSelection(slashOffsets: [0, 200], columns: [])
    let rowsWithIt = (0..<10).count { $0 * 64 + 64 > 200 }
    #expect(PublishedBlockRules.pairs(one, keys: 640) == Self.diagonal(640) + rowsWithIt * 64 * 64)
    let run = BandSelection(offsets: [0..<1, 256..<320], columns: [])
    // Block ends (end - 319) ... (end - 256): 64 different ones, which two blocks cover; at the first
    // block of rows that meets the run there is one key block.
    let blocks = (0..<10).reduce(0) { $0 + ($1 < 4 ? 0 : $1 == 4 ? 1 : 2) }
    #expect(PublishedBlockRules.pairs(run, keys: 640) == Self.diagonal(640) + blocks * 64 * 64)
  }

  @Test func `columns count where no block covers them`() {
    // Column 10 lies in the first block of rows; column 70 in the second, and both before all others.
    let bands = BandSelection(slashOffsets: [0], columns: [10, 70])
    #expect(PublishedBlockRules.pairs(bands, keys: 640) == Self.diagonal(640) + (9 + 8) * 64)
  }
}
