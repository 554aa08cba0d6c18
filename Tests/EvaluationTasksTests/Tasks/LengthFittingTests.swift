import EvaluationTasks
import MInference
import Testing

@Suite struct LengthFittingTests {
  @Test func `the size found is the largest that fits, and few sizes are tried`() {
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<300 {
      let maximum = generator.next(below: 3000)
      var tokens = [generator.next(below: 50)]
      let step = 1 + generator.next(below: 40)
      for _ in 0..<maximum { tokens.append(tokens[tokens.count - 1] + generator.next(below: step)) }
      let limit = generator.next(below: (tokens.last ?? 0) + 60)
      var tried = 0
      let size = LengthFitting.largestSize(
        upTo: maximum, limit: limit, rate: Double(1 + generator.next(below: 60))
      ) { size -> Int in
        tried += 1
        return tokens[size]
      }
      #expect(size == tokens.lastIndex { $0 <= limit })
      // Tokens that do not grow at all leave nothing to interpolate.
      #expect(tried <= (step == 1 ? 60 : 25), "\(tried) sizes tried of \(maximum)")
    }
  }

  @Test func `nothing fits a limit below the empty prompt, and all fits a large one`() {
    #expect(LengthFitting.largestSize(upTo: 9, limit: 4, rate: 1) { $0 + 5 } == nil)
    #expect(LengthFitting.largestSize(upTo: 9, limit: 500, rate: 1) { $0 + 5 } == 9)
    #expect(LengthFitting.largestSize(upTo: 0, limit: 500, rate: 1) { $0 + 5 } == 0)
  }
}
