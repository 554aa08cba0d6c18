import Compute
import SparseAttention
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct AgreementTests {
  private func planner(_ pattern: HeadPattern) -> AttentionPlanner {
    AttentionPlanner(
      configuration: .uniform(pattern, layers: 3, heads: 4), exact: true)
  }

  /// ln softmax in double precision, each logit by itself.
  private func logProbabilities(_ logits: ArraySlice<Float>) -> [Double] {
    let largest = logits.map(Double.init).max() ?? 0
    let sum = logits.reduce(0.0) { $0 + exp(Double($1) - largest) }
    return logits.map { Double($0) - largest - log(sum) }
  }

  @Test(arguments: TestBackend.allCases, [nil, 64])
  func `a reading equal to dense attention agrees with it entirely`(
    backend: TestBackend, chunk: Int?
  ) throws {
    let model = try TemporaryCheckpoint(layers: 3).load(backend)
    let ids = TemporaryCheckpoint.ids(200)
    let positions = Array(stride(from: 3, to: 200, by: 7))
    let reference = try model.sampledStates(of: ids, at: positions)
    let states = try model.sampledStates(
      of: ids, at: positions,
      options: PrefillOptions(planner: planner(.aShape(sink: 1, local: 400)), chunk: chunk))
    let found = try model.agreement(of: states, with: reference, ids: ids)
    #expect(found.map(\.position) == positions)
    let sums = AgreementSums(found)
    #expect(sums.positions == positions.count && sums.same == positions.count)
    #expect(sums.meanDivergence < 1e-7 && abs(sums.perplexityRatio - 1) < 1e-5)
  }

  @Test(arguments: TestBackend.allCases)
  func `divergences, tokens and perplexities are those of all logits in double precision`(
    backend: TestBackend
  ) throws {
    let model = try TemporaryCheckpoint(layers: 3).load(backend)
    let ids = TemporaryCheckpoint.ids(200)
    let positions = [0, 5, 63, 64, 65, 130, 131, 199]
    let sparse = PrefillOptions(planner: planner(.aShape(sink: 1, local: 2)), chunk: 128)
    let width = model.vocabularySize
    var dense: [[Double]] = []
    var other: [[Double]] = []
    try model.score(ids) { _, logits in dense.append(logProbabilities(logits)) }
    try model.score(ids, options: sparse) { _, logits in other.append(logProbabilities(logits)) }
    let found = try model.agreement(
      of: model.sampledStates(of: ids, at: positions, options: sparse),
      with: model.sampledStates(of: ids, at: positions), ids: ids)
    var expected = AgreementSums()
    for (position, found) in zip(positions, found) {
      let (p, q) = (dense[position], other[position])
      let divergence = (0..<width).reduce(0.0) { $0 + exp(p[$1]) * (p[$1] - q[$1]) }
      #expect(abs(found.divergence - divergence) < 1e-5 * (1 + divergence))
      let next = position + 1 < ids.count ? Int(ids[position + 1]) : nil
      #expect(found.next == next.map(Int32.init) ?? -1)
      #expect(abs(found.logProbability - (next.map { q[$0] } ?? 0)) < 1e-4)
      #expect(abs(found.referenceLogProbability - (next.map { p[$0] } ?? 0)) < 1e-4)
      #expect(Int(found.referenceMostLikely) == p.indices.max { p[$0] < p[$1] })
      #expect(Int(found.mostLikely) == q.indices.max { q[$0] < q[$1] })
      expected.add(found)
    }
    let sums = AgreementSums(found)
    #expect(sums == expected && sums.scored == 7 && sums.positions == 8)
    // The perturbation is one: a comparison of a reading with itself would pass the rest.
    #expect(sums.meanDivergence > 1e-3)
    let loss = positions.dropLast().reduce(0.0) {
      $0 + dense[$1][Int(ids[$1 + 1])] - other[$1][Int(ids[$1 + 1])]
    }
    #expect(abs(sums.perplexityRatio - exp(loss / 7)) < 1e-4)
  }

  @Test func `the states of a text's beginning are those of reading the beginning`() throws {
    let model = try TemporaryCheckpoint(layers: 3).load(.reference)
    let ids = TemporaryCheckpoint.ids(200)
    let whole = try model.sampledStates(of: ids, at: [10, 50, 99, 100, 180])
    let short = try model.sampledStates(of: Array(ids[..<100]), at: [10, 50, 99])
    let prefix = try #require(whole.prefix(100))
    let sums = AgreementSums(
      try model.agreement(of: short, with: prefix, ids: Array(ids[..<100])))
    #expect(sums.positions == 3 && sums.meanDivergence < 1e-9)
    #expect(whole.prefix(10) == nil)
  }

  @Test func `positions outside the text, out of order or of another reading are refused`() throws {
    let model = try TemporaryCheckpoint(layers: 1).load(.reference)
    let ids = TemporaryCheckpoint.ids(50)
    for positions in [[], [50], [-1], [3, 3], [4, 3]] {
      #expect(throws: TransformerError.self) { try model.sampledStates(of: ids, at: positions) }
    }
    let states = try model.sampledStates(of: ids, at: [1, 2])
    let others = try model.sampledStates(of: ids, at: [1, 3])
    #expect(throws: TransformerError.self) {
      try model.agreement(of: states, with: others, ids: ids)
    }
  }
}
