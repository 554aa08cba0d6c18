import Compute
import SparseAttention
import Testing

/// What a sink holds counts as held: rules that take a share of the attention take less beside it.
@Suite struct SinkMassTests {
  @Test("Blocks are taken until they and the sink hold the share")
  func blocks() {
    let shares: [Float] = [0.05, 0.2, 0.02, 0.1, 0.03]
    let rule = ShareRule(share: 0.79)
    // 0.6 is the sink's: 0.19 more are wanted, and without one 0.79 of 0.4.
    #expect(rule.blocks(shares[...], hasSink: true) == [0, 1, 4])
    #expect(rule.blocks(shares[...]) == [0, 1, 3, 4])
    // The sink alone holds enough; the first block and the query's own are taken besides.
    #expect(ShareRule(share: 0.5).blocks(shares[...], hasSink: true) == [0, 4])
    #expect(ShareRule(share: 1).blocks(shares[...], hasSink: true).count == 5)
  }

  @Test("Shares that add up to one are the same with a sink of nothing")
  func nothingMissing() {
    let shares: [Float] = [0.5, 0.25, 0.125, 0.125]
    for share in [0.1, 0.6, 0.9] as [Float] {
      let rule = ShareRule(share: share)
      #expect(rule.blocks(shares[...], hasSink: true) == rule.blocks(shares[...]))
    }
  }

  @Test("Columns are taken until they and the sink hold the share of all rows")
  func columns() {
    // Of two rows, half of the mass is the sink's.
    let sums: [Float] = [0.5, 0.05, 0.25, 0.2]
    func count(_ share: Float, hasSink: Bool) -> Int {
      LargestScores.count(of: sums, holding: share, of: 2, hasSink: hasSink)
    }
    #expect(count(0.7, hasSink: true) == 1)
    #expect(count(0.7, hasSink: false) == 2)
    #expect(count(0.45, hasSink: true) == 0)
    #expect(count(0.95, hasSink: true) == 3)
  }
}
