import MInferenceEvaluation
import Testing

/// Synthetic offsets and columns, and the densities that they are pinned to.
@Suite struct SyntheticAttentionTests {
  /// Density of a selection under the published kernel's rules: each offset of a row of 64 queries is a
  /// range of 64 keys that begins anywhere, overlapping ranges are joined in steps of 64, and columns
  /// outside of them are added.
  private func publishedDensity(_ attention: SyntheticAttention, keys: Int) -> Double {
    let offsets = attention.offsetScores.indices.filter {
      attention.offsetScores[$0] > 0 || $0 < 100
    }.sorted(by: >)
    let columns = attention.columnScores.indices.filter {
      attention.columnScores[$0] > 0 || $0 < 30
    }
    var computed = 0.0
    let rows = stride(from: 32 * 64, to: keys, by: 64 * 61)
    var causal = 0.0
    for start in rows {
      let end = start + 64
      var ranges: [(Int, Int)] = []
      for offset in offsets where offset < end {
        let stop = max(end - offset, 64)
        if let last = ranges.last {
          if stop > last.1 + 64 {
            ranges.append((stop - 64, stop))
          } else if stop > last.1 {
            ranges[ranges.count - 1].1 += 64
          }
        } else {
          ranges.append((stop - 64, stop))
        }
      }
      computed += Double(ranges.reduce(0) { $0 + $1.1 - $1.0 })
      var range = 0
      for column in columns where column < start {
        while range < ranges.count, ranges[range].1 <= column { range += 1 }
        if range == ranges.count || column < ranges[range].0 { computed += 1 }
      }
      causal += Double(start) + 32
    }
    return min(1, computed / causal)
  }

  @Test(arguments: [
    (SyntheticAttention.Setting.clustered, 131_072, 0.102), (.clustered, 524_288, 0.024),
    (.scattered, 131_072, 0.98), (.scattered, 524_288, 0.61),
  ])
  func `1000 columns and 6096 offsets have the densities of the published statistics`(
    setting: SyntheticAttention.Setting, keys: Int, expected: Double
  ) {
    let attention = SyntheticAttention(setting, keys: keys, offsets: 6096, columns: 1000, seed: 5)
    #expect(attention.offsetScores.count { $0 > 0 } >= 6000)
    #expect(attention.columnScores.count { $0 > 0 } == 1000)
    let density = publishedDensity(attention, keys: keys)
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
