import Benchmarks
import MInference
import SparseAttention
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

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

  /// The sums that a chunk of synthetic queries and keys gives its selector, as the kernel makes them but for
  /// the noise: keys see offsets as many further on as the chunk ends before the prompt.
  private func sums(_ attention: SyntheticAttention, end: Int, keys: Int) -> LastRowSums {
    var (vertical, slash) = ([Float](repeating: 0, count: end), [Float](repeating: 0, count: end))
    for row in end - 64..<end {
      for key in 0...row {
        let weight = exp(
          SyntheticAttention.score(
            offset: attention.offsetScores[row - key + keys - end],
            column: attention.columnScores[key]))
        vertical[key] += weight
        slash[row - key] += weight
      }
    }
    return LastRowSums(vertical: vertical, slash: slash)
  }

  @Test(arguments: [4096, 8192, 16384])
  func `a chunk finds its share of offsets in runs`(end: Int) throws {
    let (keys, runs) = (16384, 32)
    let attention = SyntheticAttention(
      .clustered, keys: keys, offsets: 64 * runs, columns: 100, isChunked: true, seed: 3)
    let share = runs * end / keys
    let bands = VerticalSlash.selection(
      sums(attention, end: end, keys: keys), vertical: 30 + 100 * end / keys,
      slash: 100 + 64 * share)
    let chosen = bands.slashOffsets.filter { $0 >= 100 }
    #expect(chosen.count == 64 * share)
    // Stretches without gaps: one a run, one more where the budget ends within one, and neighbours as one.
    let stretches = zip(chosen, chosen.dropFirst()).count { $1 != $0 + 1 } + 1
    #expect(stretches <= share + 2, "\(stretches) of \(share)")
  }

  @Test func `the same seed gives the same offsets, another seed others`() {
    let one = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 1)
    let same = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 1)
    let other = SyntheticAttention(.clustered, keys: 8192, offsets: 640, columns: 30, seed: 2)
    #expect(one.offsetScores == same.offsetScores && one.columnScores == same.columnScores)
    #expect(one.offsetScores != other.offsetScores)
  }
}
