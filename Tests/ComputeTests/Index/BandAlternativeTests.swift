import Compute
import Testing

/// When columns and offsets are taken in place of chosen blocks.
@Suite struct BandAlternativeTests {
  /// Mass on 300 keys, which are three blocks, so much on a key of each.
  private func sums(_ masses: [Float]) -> [Float] {
    var sums = [Float](repeating: 0, count: 300)
    for (block, mass) in masses.enumerated() { sums[block * 128 + 9 * block] = mass }
    return sums
  }

  @Test func `what agrees has no distance, whatever it adds up to`() {
    let distance = BandAlternative.distance(
      columnSums: sums([16, 8, 40]), shares: [0.125, 0.0625, 0.3125])
    #expect(distance < 1e-6)
  }

  @Test func `what has no block in common is as far apart as can be`() {
    let distance = BandAlternative.distance(columnSums: sums([0, 64, 0]), shares: [0.5, 0, 0.5])
    #expect(abs(distance - 0.832554611) < 1e-7)
  }

  @Test func `the distance is the square root of the divergence in natural logarithms`() {
    // p = (1/4, 3/4, 0), q = (1/2, 1/4, 1/4): D = (KL(p, m) + KL(q, m)) / 2 with m = (3/8, 1/2, 1/8).
    let distance = BandAlternative.distance(columnSums: sums([1, 3, 0]), shares: [2, 1, 1])
    #expect(abs(distance * distance - 0.173286795) < 1e-7)
  }

  @Test func `the alternative is taken from its distance on, and where there is nothing to trust`()
  {
    func isTaken(_ distance: Float, _ masses: [Float], _ shares: [Float]) -> Bool {
      BandAlternative(
        distance: distance, columns: .share(0.5, least: 30), offsets: .share(0.5, least: 50)
      ).isTaken(columnSums: sums(masses), shares: shares)
    }
    #expect(isTaken(0.416, [1, 3, 0], [2, 1, 1]) && !isTaken(0.417, [1, 3, 0], [2, 1, 1]))
    #expect(isTaken(0, [1, 3, 0], [1, 3, 0]))
    #expect(isTaken(1, [0, 0, 0], [2, 1, 1]) && isTaken(1, [1, 3, 0], [0, 0, 0]))
    #expect(isTaken(1, [1, .nan, 0], [2, 1, 1]) && isTaken(1, [1, 3, 0], [2, .nan, 1]))
  }

  @Test func `there is memory for what it is judged by, where a group is a block`() {
    func sizes(_ source: ShareSource) -> ShareIndexSizes {
      ShareIndexSizes(heads: 3, source: source, firstPosition: 200, rows: 1000)
    }
    // Ten shares and a decision.
    #expect(sizes(.means(size: 128)).alternativeBytes == 44)
    #expect(sizes(.means(size: 16)).alternativeBytes == 0)
    #expect(sizes(.antidiagonals(stride: 16, queryStride: 4)).alternativeBytes == 0)
  }
}
