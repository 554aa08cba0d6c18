import Benchmarks
import SparseAttention
import Testing

/// Synthetic offsets and columns, and the densities that they are pinned to.
@Suite struct SyntheticAttentionTests {
  @Test(arguments: [
    (SyntheticAttention.Setting.clustered, 131_072, 0.102), (.clustered, 524_288, 0.024),
    (.scattered, 131_072, 0.98), (.scattered, 524_288, 0.61),
  ])
  func `1000 columns and 6096 offsets have the densities of the published statistics`(
    setting: SyntheticAttention.Setting, keys: Int, expected: Double
  ) {
    let bands = SyntheticSelection.bands(
      setting, keys: keys, budget: .init(columns: 1000, offsets: 6096), seed: 5)
    #expect(bands.slashOffsets.count == 6096 && bands.columns.count == 1000)
    let causal = Double(keys) * Double(keys + 1) / 2
    let density = Double(PublishedBlockRules.pairs(bands, keys: keys)) / causal
    #expect(abs(density - expected) < 0.12 * expected, "\(density)")
  }

  @Test func `the same seed gives the same offsets, another seed others`() {
    let one = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 1)
    let same = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 1)
    let other = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 2)
    #expect(one.offsetScores == same.offsetScores && one.columnScores == same.columnScores)
    #expect(one.offsetScores != other.offsetScores)
  }
}
