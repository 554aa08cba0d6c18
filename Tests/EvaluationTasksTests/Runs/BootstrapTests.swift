import EvaluationTasks
import MInference
import Testing

@Suite struct BootstrapTests {
  @Test func `the interval holds the true mean about nineteen times in twenty`() {
    var generator = SeededGenerator(seed: 5)
    let trials = 200
    let hits = (0..<trials).count { trial in
      // The mean of ten uniform numbers, thirty times: mean 0.5.
      let values = (0..<30).map { _ in
        (0..<10).reduce(0.0) { sum, _ in sum + Double(generator.next(below: 1 << 20)) } / 10
          / 1_048_575
      }
      return Bootstrap.mean(values, seed: UInt64(trial)).contains(0.5)
    }
    // Percentile intervals of 30 values hold it in about 93 % of the cases.
    #expect((0.88...0.985).contains(Double(hits) / Double(trials)), "\(hits) of \(trials)")
  }

  @Test func `the same values give the same interval`() {
    let values = (0..<25).map { Double($0 % 3) / 2 }
    #expect(Bootstrap.mean(values) == Bootstrap.mean(values))
    let estimate = Bootstrap.mean(values)
    #expect(estimate.low < estimate.mean && estimate.mean < estimate.high)
  }

  @Test func `pairs that differ alike leave nothing open, whatever their spread`() {
    let left = (0..<25).map { Double($0 * $0 % 7) }
    let estimate = Bootstrap.difference(left, left.map { $0 + 0.25 })
    #expect(estimate == Bootstrap.Estimate(mean: 0.25, low: 0.25, high: 0.25))
    #expect(!estimate.contains(0))
  }

  @Test func `few values are defined, and none are not a number`() {
    #expect(Bootstrap.mean([0.5]) == Bootstrap.Estimate(mean: 0.5, low: 0.5, high: 0.5))
    #expect(Bootstrap.mean([Double](), seed: 1).mean.isNaN)
  }
}
