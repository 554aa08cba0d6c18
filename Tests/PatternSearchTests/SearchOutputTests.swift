import PatternSearch
import SparseAttention
import Testing
import Transformers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct SearchOutputTests {
  private let samples = [SearchSample(name: "a", ids: TemporaryModel.ids(500))]

  private func search(_ model: Transformer, _ patterns: [HeadPattern]) -> PatternSearch {
    PatternSearch(
      model: model, fingerprint: "0123",
      options: SearchOptions(
        space: CandidateSpace(name: "test", patterns: patterns),
        objective: .meanOverHeads(0.9, floor: RecallFloor(mean: 0.5, tenthPercentile: 0)),
        denseBelow: 0, calibrationLengths: [128, 256]))
  }

  @Test func `Both layouts of the choice load as the patterns that were chosen`() throws {
    let temporary = try TemporaryModel()
    let model = try temporary.load()
    let search = search(
      model, [.aShape(sink: 16, local: 64), .verticalSlash(vertical: 40, slash: 100)])
    let result = try search.run(samples)
    #expect(result.choice.meanRecall >= 0.9)
    let configuration = result.configuration(model: "tiny", fingerprint: "0123", device: "cpu")
    let file = temporary.directory + "/work.jsonl"

    try configuration.write(toFile: file)
    let own = try PatternConfiguration(contentsOfFile: file)
    #expect(own.patterns == result.chosenPatterns)
    #expect(own.measurements == configuration.measurements)
    #expect(own.metadata == configuration.metadata)
    #expect(own.metadata.costs != nil && own.costModel(onDevice: "cpu") == own.metadata.costs)
    #expect(own.costModel(onDevice: "cuda") == SparseCostModel())
    #expect(own.metadata.fingerprint == "0123" && own.metadata.lengths == [500])
    #expect((own.metadata.recall?.mean ?? 0) >= 0.9 - 1e-5)

    try configuration.writeUpstream(toFile: file, contextLength: 4096)
    let upstream = try PatternConfiguration(contentsOfFile: file)
    for (layer, row) in result.chosenPatterns.enumerated() {
      for (head, pattern) in row.enumerated() {
        let expected: HeadPattern =
          pattern == .dense ? .verticalSlash(vertical: 4096, slash: 4096) : pattern
        #expect(upstream.patterns[layer][head] == expected)
      }
    }
  }

  @Test func `A pattern that the published layout lacks is refused by name`() throws {
    let configuration = PatternConfiguration(patterns: [[.dense, .blockSparse(topK: 7)]])
    let error = #expect(throws: PatternError.self) {
      try configuration.writeUpstream(toFile: "/tmp/never-written.json", contextLength: 4096)
    }
    #expect(error?.description.contains("layer 0, head 1") ?? false)
    #expect(!HeadPattern.blockSparse(topK: 7).isKnownUpstream)
    #expect(HeadPattern.blockSparse(topK: 100).isKnownUpstream)
  }

  @Test func `Validation runs the choice and says what it kept and took`() throws {
    let model = try TemporaryModel().load()
    let search = search(model, [.aShape(sink: 16, local: 64)])
    let result = try search.run(samples)
    let text = SearchSample(name: "b", ids: TemporaryModel.ids(5000 - 908, seed: 9))
    let validation = try search.validate(result, on: text)
    #expect(validation.tokens == 4092 && validation.heads.count == 3)
    #expect(validation.seconds > 0 && validation.attentionSeconds < validation.seconds)
    // Below the crossover that was found: dense, so that nothing is lost.
    let isDense = validation.tokens < result.planningCosts.denseBelow
    #expect((validation.density == 1) == isDense)
    #expect((validation.recall == RecallFigures(mean: 1, worst: 1)) == isDense)
  }
}
