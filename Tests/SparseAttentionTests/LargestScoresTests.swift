import SparseAttention
import Testing

@Suite struct LargestScoresTests {
  @Test func `the selection is the sorted one where no scores are close`() {
    var random = SeededGenerator(seed: 1)
    for count in [1, 2, 63, 1000, 5000] {
      // Distinct multiples of 0.01, so nothing ties.
      let scores = (0..<count).map { Float($0 - count / 3) * 0.01 }.shuffled(using: &random)
      for k in [0, 1, count / 2, count - 1, count, count + 10] {
        for forced in [0, 3, 30] {
          let chosen = LargestScores.indices(of: scores, count: k, forced: forced)
          let expected = naiveTop(scores.map(Double.init), count: min(k, count), forced: forced)
          #expect(chosen.map(Int.init) == expected.sorted())
        }
      }
    }
  }

  @Test func `scores within the tie width go to the lowest indices`() {
    let scores: [Float] = [0.5, 0.100_002, 0.9, 0.100_004, 0.1, 0.2]
    #expect(LargestScores.indices(of: scores, count: 4) == [0, 1, 2, 5])
    #expect(LargestScores.indices(of: scores, count: 5) == [0, 1, 2, 3, 5])
    #expect(LargestScores.indices(of: [Float](repeating: 0, count: 9), count: 3) == [0, 1, 2])
  }

  @Test func `rounding noise does not change a selection of tied scores`() {
    var random = SeededGenerator(seed: 2)
    let scores = (0..<2000).map { Float($0 % 40) * 0.01 }
    let plain = LargestScores.indices(of: scores, count: 777)
    for _ in 0..<20 {
      let noisy = scores.map { $0 + Float.random(in: -2e-6..<2e-6, using: &random) }
      #expect(LargestScores.indices(of: noisy, count: 777) == plain)
    }
  }

  @Test func `negative scores, infinities and what is no number are ordered`() {
    let scores: [Float] = [.nan, -3, -.infinity, -1, .infinity, -2, .nan]
    #expect(LargestScores.indices(of: scores, count: 1) == [4])
    #expect(LargestScores.indices(of: scores, count: 4) == [1, 3, 4, 5])
    #expect(LargestScores.indices(of: scores, count: 6) == [0, 1, 2, 3, 4, 5])
    #expect(LargestScores.indices(of: [], count: 5, forced: 3) == [])
  }
}
