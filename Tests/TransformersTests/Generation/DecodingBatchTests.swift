import Compute
import Testing
import Transformers

struct DecodingBatchTests {
  let checkpoint: TemporaryCheckpoint

  init() throws { checkpoint = try TemporaryCheckpoint() }

  /// Prompts of unequal lengths, greedy and drawn, with and without a penalty; neighbours of one kind and of
  /// different ones.
  private static let samplings = [
    SamplingOptions(temperature: 0), SamplingOptions(temperature: 0),
    SamplingOptions(temperature: 1.4, topK: 20, seed: 3),
    SamplingOptions(temperature: 1.4, topK: 20, seed: 4),
    SamplingOptions(temperature: 0, repetitionPenalty: 1.4),
    SamplingOptions(temperature: 0.9, topP: 0.9, seed: 5), SamplingOptions(temperature: 0),
  ]

  private func generator(
    _ model: Transformer, _ number: Int, capacity: Int = 200, maximumTokens: Int? = nil
  ) throws -> TokenGenerator {
    let prompt = TemporaryCheckpoint.ids(9 + 17 * number)
    let cache = try model.makeCache(capacity: capacity)
    return TokenGenerator(
      model: model, cache: cache, logits: try model.prefill(prompt, cache: cache).deviceLogits,
      prompt: prompt, sampler: try Sampler(Self.samplings[number]), stopIDs: [7],
      maximumTokens: maximumTokens ?? 6 + 3 * number)
  }

  private func alone(_ generator: TokenGenerator) throws -> [Int32] {
    var tokens: [Int32] = []
    while let id = try generator.next() { tokens.append(id) }
    return tokens
  }

  /// Everything to its end, all together.
  private func together(_ model: Transformer, _ generators: [TokenGenerator]) throws -> [[Int32]] {
    var tokens = [[Int32]](repeating: [], count: generators.count)
    for (number, generator) in generators.enumerated() {
      if let id = try generator.next() { tokens[number].append(id) }
    }
    let batch = DecodingBatch(model)
    while true {
      let going = generators.indices.filter { generators[$0].need() != nil }
      guard !going.isEmpty else { return tokens }
      let results = batch.next(going.map { .init(generators[$0]) })
      for (number, result) in zip(going, results) {
        if let id = try result.get() { tokens[number].append(id) }
      }
    }
  }

  @Test(arguments: TestBackend.allCases)
  func `every sequence of a batch gets the tokens that it gets alone, and ends when it ends`(
    backend: TestBackend
  ) throws {
    let model = try checkpoint.load(backend)
    let numbers = Self.samplings.indices
    let expected = try numbers.map { try alone(generator(model, $0)) }
    let found = try together(model, try numbers.map { try generator(model, $0) })
    #expect(found == expected)
    #expect(Set(expected.map(\.count)).count > 3)
  }

  @Test func `the logits of a batch are those of single tokens, row by row`() throws {
    let model = try checkpoint.load()
    let generators = try (0..<5).map { try generator(model, $0) }
    let others = try (0..<5).map { try generator(model, $0) }
    let batch = DecodingBatch(model)
    var rows: [[Float]] = []
    var batched: [[Float]?] = Array(repeating: nil, count: 5)
    for (generator, other) in zip(generators, others) {
      _ = try generator.next()
      _ = try other.next()
      var row: [Float] = []
      _ = try other.next { row = $0 }
      rows.append(row)
    }
    _ = batch.next(
      generators.enumerated().map { number, generator in
        .init(generator) { batched[number] = $0 }
      })
    #expect(batched == rows.map(Optional.some))
  }

  @Test func `one that fails leaves the others as they are`() throws {
    struct Refused: Error {}
    let model = try checkpoint.load()
    let batch = DecodingBatch(model)
    let generators = try (0..<3).map { try generator(model, $0) }
    let others = try (0..<3).map { try generator(model, $0) }
    let expected = try others.map { try ($0.next(), $0.next()).1 }
    for generator in generators { _ = try generator.next() }
    let results = batch.next([
      .init(generators[0]), .init(generators[1]) { _ in throw Refused() }, .init(generators[2]),
    ])
    #expect(throws: Refused.self) { try results[1].get() }
    #expect(try results[0].get() == expected[0] && results[2].get() == expected[2])
    // A row of no use is one sequence's affair too.
    let spoilt = batch.next([
      .init(generators[0]) { for id in $0.indices { $0[id] = .nan } }, .init(generators[2]),
    ])
    #expect(throws: TransformerError.self) { try spoilt[0].get() }
    #expect(try spoilt[1].get() == others[2].next())
  }
}
