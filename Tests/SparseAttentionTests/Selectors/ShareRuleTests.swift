import Compute
import SparseAttention
import Testing

@Suite struct ShareRuleTests {
  /// The rule written with a loop: take the largest, one after the other, until enough is held.
  private func naive(_ shares: [Float], _ rule: ShareRule) -> Set<Int32> {
    guard shares.contains(where: { $0 > 0 }) else { return Set(0..<Int32(shares.count)) }
    var left = Array(shares.enumerated())
    let total = shares.reduce(0.0) { $0 + Double($1) }
    var held = 0.0
    var taken: Set<Int32> = []
    let least = max(rule.least, Int((rule.floor * Float(shares.count)).rounded(.up)))
    let most = Int((rule.cap * Float(shares.count)).rounded(.up))
    while !left.isEmpty, taken.count < most,
      taken.count < least || rule.share >= 1 || held < Double(rule.share) * total
    {
      let best = left.indices.max {
        (left[$0].element, -left[$0].offset) < (left[$1].element, -left[$1].offset)
      }
      guard let best else { break }
      let (offset, share) = left.remove(at: best)
      held += Double(share)
      taken.insert(Int32(offset))
    }
    return taken.union([0, Int32(shares.count - 1)])
  }

  @Test(arguments: 0..<40)
  func `blocks are taken by their shares until enough is held`(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    let count = 1 + Int.random(in: 0..<60, using: &random)
    // Multiples of 1/64: sums are exact, and there are ties.
    let shares = (0..<count).map { _ in Float(Int.random(in: 0..<9, using: &random)) / 64 }
    for rule in [
      ShareRule(share: 0.5), ShareRule(share: 0.75, floor: 0.25),
      ShareRule(share: 0.875, floor: 0, cap: 0.5), ShareRule(share: 1), ShareRule(share: 0),
      ShareRule(share: 0.25, floor: 0.125, least: 9), ShareRule(share: 0.5, cap: 0.25, least: 30),
      ShareRule(share: 0, least: 100),
    ] {
      let blocks = rule.blocks(shares[...])
      #expect(blocks == blocks.sorted() && Set(blocks).count == blocks.count)
      #expect(Set(blocks) == naive(shares, rule), "\(rule) of \(shares)")
    }
  }

  @Test func `a block that was not scored takes every block`() {
    #expect(ShareRule(share: 0.5, cap: 0.1).blocks([0, 0, 0]) == [0, 1, 2])
  }

  @Test func `the first block and the query's own are always taken`() {
    #expect(ShareRule(share: 0.1).blocks([0, 0, 1, 0]) == [0, 2, 3])
    #expect(ShareRule(share: 0.5).blocks([1]) == [0])
    #expect(ShareRule(share: 0.5).blocks([]) == [])
  }
}
