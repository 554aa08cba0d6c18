import Testing

import PatternSearch

@Suite struct UniformFrontierTests {
  @Test func `what is dearer and loses as much is left out, and dense attention ends it`() {
    let frontier = UniformFrontier(
      seconds: [1, 2, 3, 2.5, 5, 4, 6], errors: [9, 4, 4, 7, 0, 1, 0.5])
    #expect(frontier.entries.map(\.candidate) == [0, 1, 5, 4])
    // Dense attention may be the cheapest of all.
    #expect(UniformFrontier(seconds: [3, 2], errors: [1, 0]).entries.map(\.candidate) == [1])
  }

  /// A frontier of ten entries with errors 2^9 ... 1 and dense attention.
  private let frontier = UniformFrontier(
    seconds: (0..<11).map { Double($0 + 1) },
    errors: (0..<10).map { Double(1 << (9 - $0)) } + [0])

  @Test(arguments: 0...10)
  func `the cheapest entry that keeps the goal is found in a few readings`(limit: Int) {
    // Losses that do not follow the predicted errors: they fall more slowly.
    let use = (0..<11).map {
      $0 >= limit ? 0.9 - 0.1 * Double($0 - limit) : 1.1 + Double(limit - $0)
    }
    var tried: UniformFrontier.Tried = [:]
    while let next = frontier.nextForLoss(tried) {
      #expect(tried[next] == nil && next < 10)
      guard tried[next] == nil else { return }
      tried[next] = (use[next], use[next] <= 1)
    }
    let best = tried.filter(\.value.isKept).keys.min() ?? 10
    #expect(best >= limit)
    // Where the prediction is far off an entry or two may stay untried; never all of them.
    #expect(best <= limit + 2 || limit == 10)
    #expect(tried.count <= 6)
  }

  @Test(arguments: 0...10)
  func `the entry that loses least within a time is found in a few readings`(limit: Int) {
    // True times are a third above those predicted.
    let allowed = 1.001 * 4 / 3 * Double(limit + 1)
    var tried: UniformFrontier.Tried = [:]
    while let next = frontier.nextForTime(tried, predictedUse: { $0.seconds / allowed }) {
      #expect(tried[next] == nil)
      guard tried[next] == nil else { return }
      let use = frontier.entries[next].seconds * 4 / 3 / allowed
      tried[next] = (use, use <= 1)
    }
    #expect(tried.filter(\.value.isKept).keys.max() == limit)
    #expect(tried.count <= 4)
  }
}

@Suite struct HeadAssignmentTests {
  @Test func `no choice of all takes less time and loses as little`() throws {
    var random = TestRandom(seed: 3)
    for _ in 0..<20 {
      func numbers(_ range: ClosedRange<Double>) -> [[Double]] {
        (0..<4).map { _ in (0..<4).map { _ in Double.random(in: range, using: &random) } }
      }
      let assignment = HeadAssignment(seconds: numbers(0.5...2), errors: numbers(0.01...1))
      let all = (0..<256).map { number -> (seconds: Double, error: Double) in
        let choice = [number % 4, number / 4 % 4, number / 16 % 4, number / 64]
        return (0..<4).reduce(into: (0, 0)) { sum, head in
          sum.0 += assignment.seconds[head][choice[head]]
          sum.1 += assignment.errors[head][choice[head]]
        }
      }
      let least = all.map(\.error).min() ?? 0
      let most = least + 0.6
      let cheap = try #require(assignment.cheapest(losing: most))
      #expect(cheap.error <= most)
      #expect(
        abs(cheap.seconds - zip(cheap.candidates, assignment.seconds).reduce(0) { $0 + $1.1[$1.0] })
          < 1e-9)
      #expect(
        !all.contains { $0.error < cheap.error - 1e-9 && $0.seconds < cheap.seconds - 1e-9 })
      let exact = all.filter { $0.error <= most }.map(\.seconds).min() ?? 0
      #expect(cheap.seconds <= 1.5 * exact)
      let within = try #require(assignment.best(within: cheap.seconds))
      #expect(within.seconds <= cheap.seconds && within.error <= cheap.error + 1e-9)
      #expect(assignment.cheapest(losing: least / 2) == nil)
    }
  }
}
