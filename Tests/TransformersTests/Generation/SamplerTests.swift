import Compute
import Testing
import Transformers

struct SamplerTests {
  /// How often each of `count` ids is drawn in `draws`.
  func counts(
    _ options: SamplingOptions, _ logits: [Float], draws: Int, history: [Int32] = []
  ) throws -> [Int] {
    var sampler = try Sampler(options)
    var counts = Array(repeating: 0, count: logits.count)
    for _ in 0..<draws { counts[Int(try sampler.sample(logits: logits, history: history))] += 1 }
    return counts
  }

  @Test func `the generator gives the published numbers`() {
    // The first outputs of SplitMix64 for seed 1234567.
    var generator = SplitMix64(seed: 1_234_567)
    let numbers = (0..<5).map { _ in generator.next() }
    #expect(
      numbers == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
        4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
      ])
  }

  @Test func `temperature zero takes the largest logit, the lowest id of equals`() throws {
    var greedy = try Sampler()
    #expect(try greedy.sample(logits: [1, 3, -2, 3]) == 1)
    #expect(try greedy.sample(logits: [-.infinity, -5]) == 1)
  }

  @Test func `draws follow the softmax at the given temperature`() throws {
    // Shares 1 : 2 : 4 at temperature 1, 1 : 4 : 16 at one half.
    let logits: [Float] = [0, 0.6931472, 1.3862944, -.infinity]
    for (temperature, weights) in [(Float(1), [1.0, 2, 4]), (0.5, [1.0, 4, 16])] {
      let draws = 20_000
      let found = try counts(
        SamplingOptions(temperature: temperature, seed: 3), logits, draws: draws)
      let total = weights.reduce(0, +)
      // Chi-squared with two degrees of freedom is above 13.8 once in a thousand seeds.
      let statistic = zip(found, weights).reduce(0.0) { sum, pair in
        let expected = Double(draws) * pair.1 / total
        return sum + (Double(pair.0) - expected) * (Double(pair.0) - expected) / expected
      }
      #expect(statistic < 13.8)
      #expect(found[3] == 0)
    }
  }

  @Test func `equal seeds give equal draws and other seeds others`() throws {
    let logits = (0..<50).map { Float($0 % 7) }
    func draws(_ seed: UInt64) throws -> [Int32] {
      var sampler = try Sampler(SamplingOptions(temperature: 1, seed: seed))
      return try (0..<40).map { _ in try sampler.sample(logits: logits) }
    }
    #expect(try draws(5) == draws(5))
    #expect(try draws(5) != draws(6))
    let unseeded = try Sampler(SamplingOptions(temperature: 1))
    #expect(unseeded.seed != (try Sampler(SamplingOptions(temperature: 1))).seed)
  }

  @Test func `top-k, top-p and min-p are those of the options`() throws {
    // Probabilities 1/8, 1/2, 1/4, 1/8.
    let logits: [Float] = [0, 1.3862944, 0.6931472, 0]
    func drawn(_ options: SamplingOptions) throws -> [Int] {
      try counts(options, logits, draws: 200).enumerated().filter { $1 > 0 }.map(\.offset)
    }
    #expect(try drawn(SamplingOptions(temperature: 1, seed: 1)) == [0, 1, 2, 3])
    #expect(try drawn(SamplingOptions(temperature: 1, topK: 3, seed: 1)) == [0, 1, 2])
    #expect(try drawn(SamplingOptions(temperature: 1, topP: 0.6, seed: 1)) == [1, 2])
    #expect(try drawn(SamplingOptions(temperature: 1, minP: 0.3, seed: 1)) == [1, 2])
    #expect(try drawn(SamplingOptions(temperature: 1, topK: 2, topP: 0.6, seed: 1)) == [1])
  }

  @Test func `the repetition penalty weakens seen ids of either sign, once each`() throws {
    var sampler = try Sampler(SamplingOptions(repetitionPenalty: 2))
    #expect(try sampler.sample(logits: [3, 2, 0], history: [0, 0, 0]) == 1)
    #expect(try sampler.sample(logits: [3, 1, 0], history: [0, 0, 0]) == 0)
    #expect(try sampler.sample(logits: [-1, -1.5], history: [0]) == 1)
    #expect(try sampler.sample(logits: [-1, -1.5], history: [7, -3]) == 0)
  }

  @Test func `logits that are no numbers are refused`() throws {
    for (temperature, logits) in [
      (Float(0), [1, Float.nan, 2]), (1, [.nan]), (0, [0, .infinity]), (1, [-.infinity]), (0, []),
    ] {
      var sampler = try Sampler(SamplingOptions(temperature: temperature))
      #expect(throws: TransformerError.self) { try sampler.sample(logits: logits) }
    }
  }

  @Test func `options that make no sense are refused`() {
    for options in [
      SamplingOptions(temperature: -1), SamplingOptions(temperature: .nan),
      SamplingOptions(topK: -1), SamplingOptions(topP: 0), SamplingOptions(topP: 1.1),
      SamplingOptions(minP: -0.1), SamplingOptions(repetitionPenalty: 0),
    ] {
      #expect(throws: TransformerError.self) { try Sampler(options) }
    }
  }
}
