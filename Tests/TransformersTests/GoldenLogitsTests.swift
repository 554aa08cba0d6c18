import Checkpoints
import Compute
import ComputeCPU
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

struct GoldenLogitsTests {
  static let tolerance: Float = 1e-3

  @Test(arguments: Golden.all, TestBackend.allCases)
  func
    `logits equal those of transformers at every position, in one pass, in chunks and token by token`(
      golden: Golden, backend: TestBackend
    ) throws
  {
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: try backend.make())
    let ids = try golden.ids()
    let expected = try golden.logits()
    let width = model.vocabularySize
    #expect(expected.count == ids.count * width)

    let whole = try score(model, ids)
    #expect(distance(whole, from: expected, width: width) < Self.tolerance)

    let chunked = try score(
      model, ids, PrefillOptions(chunk: 16, rowBlock: 16),
      cache: try model.makeCache(capacity: ids.count, sequenceLength: ids.count))
    #expect(distance(chunked, from: expected, width: width) < Self.tolerance)

    let cache = try model.makeCache(capacity: ids.count, sequenceLength: ids.count)
    let single = try ids.flatMap { try model.decode($0, cache: cache) }
    #expect(distance(single, from: expected, width: width) < Self.tolerance)

    let last = try model.prefill(ids, cache: try model.makeCache(capacity: ids.count)).logits
    #expect(distance(last, from: Array(expected.suffix(width)), width: width) < Self.tolerance)
  }

  /// Exactly on the reference. A processor rounds what experts read to eight bits, by which a row changes an
  /// expert here and there.
  @Test(arguments: Golden.inBlocks, TestBackend.allCases)
  func `logits of experts in blocks equal those of transformers`(
    golden: Golden, backend: TestBackend
  ) throws {
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: try backend.make())
    let ids = try golden.ids()
    let expected = try golden.logits()
    let width = model.vocabularySize
    func expectEqual(_ values: [Float], _ what: Comment) {
      guard backend != .reference else {
        return #expect(distance(values, from: expected, width: width) < Self.tolerance, what)
      }
      let differences = rowDistances(values, from: expected, width: width)
      #expect(differences[differences.count * 8 / 10] < 0.05, what)
    }
    expectEqual(try score(model, ids), "whole")
    let chunked = try score(
      model, ids, PrefillOptions(chunk: 16, rowBlock: 16),
      cache: try model.makeCache(capacity: ids.count, sequenceLength: ids.count))
    expectEqual(chunked, "in chunks")
    let cache = try model.makeCache(capacity: ids.count, sequenceLength: ids.count)
    expectEqual(try ids.flatMap { try model.decode($0, cache: cache) }, "token by token")
  }

  /// Models with random weights magnify what is rounded: here a hundredth of the largest logit is usual, and near
  /// ties of experts and of single logits give more.
  @Test(.enabled(if: CPUBackend.hasBFloat16Products), arguments: Golden.all)
  func `logits of BF16 weights multiplied in pairs are those of transformers but for rounding`(
    golden: Golden
  ) throws {
    let backend = try CPUBackend(threads: 2, usesBFloat16Products: true)
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: backend)
    let expected = try golden.logits()
    let differences = rowDistances(
      try score(model, try golden.ids()), from: expected, width: model.vocabularySize)
    #expect(differences[differences.count * 8 / 10] < 0.05)
    #expect(differences[differences.count / 2] < 0.02)
  }

  /// Their window is narrower than what a pattern would keep.
  @Test(arguments: TestBackend.allCases)
  func `layers of gpt-oss with a window compute all of it, and the others what patterns say`(
    backend: TestBackend
  ) throws {
    let golden = Golden(name: "gpt-oss")
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: try backend.make())
    let ids = try golden.ids() + golden.ids()
    let heads = model.attentionShape(layer: 0).queryHeads
    let report = try model.prefill(
      ids, cache: try model.makeCache(capacity: ids.count),
      options: PrefillOptions(
        planner: AttentionPlanner(
          configuration: .uniform(
            .aShape(sink: 1, local: 4), layers: model.layerCount, heads: heads), exact: true),
        lastLayerLastRowOnly: false)
    ).report
    #expect(model.attentionShape(layer: 0).slidingWindow == 16)
    #expect(report.computedPairs[0] == report.causalPairs[0])
    #expect(zip(report.computedPairs[1], report.causalPairs[1]).allSatisfy { $0 < $1 })
  }

  @Test(arguments: Golden.all + Golden.inBlocks)
  func `rotary frequencies and attention scaling equal those of transformers`(golden: Golden) throws
  {
    let model = try Transformer(
      checkpoint: try golden.checkpoint(), backend: try TestBackend.cpu.make())
    let embedding = model.rotaryEmbedding(forLength: try golden.ids().count)
    let expected = try golden.inverseFrequencies()
    #expect(embedding.inverseFrequencies.count == expected.count)
    for (value, target) in zip(embedding.inverseFrequencies, expected) {
      #expect(abs(value - target) <= 4 * target.ulp)
    }
    #expect(abs(embedding.attentionScaling - (try golden.attentionScaling())) < 1e-6)
  }

  /// The prompt is within the original length and the answer grows beyond it.
  @Test(arguments: TestBackend.allCases)
  func `LongRoPE's long factors come in force while generating as in transformers`(
    backend: TestBackend
  ) throws {
    let golden = Golden(name: "phi3-longrope-generate")
    let model = try Transformer(checkpoint: try golden.checkpoint(), backend: try backend.make())
    let answer = try golden.generatedIDs()
    let expected = try golden.generatedLogits()
    let prompt = Array(try golden.ids().prefix(28))
    let capacity = prompt.count + answer.count
    let cache = try model.makeCache(capacity: capacity)
    let first = try model.prefill(prompt, cache: cache).deviceLogits
    let generator = TokenGenerator(
      model: model, cache: cache, logits: first, prompt: prompt,
      sampler: try Sampler(SamplingOptions(temperature: 0)), stopIDs: [],
      maximumTokens: answer.count)
    while try generator.next() != nil {}
    #expect(Array(generator.history.suffix(answer.count)) == answer)

    // The logits too, and that they could have come out otherwise.
    let again = try model.makeCache(capacity: capacity)
    let kept = try model.makeCache(capacity: capacity)
    var values = try model.prefill(prompt, cache: again).logits
    var keptValues = try model.prefill(prompt, cache: kept).logits
    for id in answer.dropLast() {
      if model.mustReadAgain(again, adding: 1) {
        let ids = prompt + answer.prefix(again.count + 1 - prompt.count)
        again.truncate(to: 0)
        values += try model.prefill(ids, cache: again).logits
      } else {
        values += try model.decode(id, cache: again)
      }
      keptValues += try model.decode(id, cache: kept)
    }
    let width = model.vocabularySize
    #expect(distance(values, from: expected, width: width) < Self.tolerance)
    #expect(distance(keptValues, from: expected, width: width) > 0.1)
  }

  /// Every feature of a family is honoured in sparse mode as in dense: where the patterns take every
  /// key of the model's own window the logits are those of transformers, and where they do not, a
  /// kernel and its plain definition agree.
  @Test(arguments: Golden.all)
  func `sparse prefill of every golden keeps to the model's own rules`(golden: Golden) throws {
    let ids = try golden.ids()
    let model = try Transformer(
      checkpoint: try golden.checkpoint(), backend: try TestBackend.cpu.make())
    let (layers, heads) = (model.layerCount, model.attentionShape(layer: 0).queryHeads)
    let width = model.vocabularySize
    func options(_ pattern: HeadPattern) -> PrefillOptions {
      PrefillOptions(
        planner: AttentionPlanner(
          configuration: .uniform(pattern, layers: layers, heads: heads), exact: true))
    }
    // Fewer than 64 rows are never sparse, so the text is repeated; its logits are known as far as it
    // goes the first time, where the length does not change the rotary embedding.
    let text = Array((ids + ids + ids).prefix(model.contextLength))
    func logits(_ model: Transformer, _ options: PrefillOptions) throws -> [Float] {
      try score(model, text, options)
    }
    let expected = try golden.logits()
    let everything = try logits(model, options(.aShape(sink: 1, local: 9999)))
    let (short, long) = (ids.count, text.count)
    if model.rotaryEmbedding(forLength: short) == model.rotaryEmbedding(forLength: long) {
      #expect(
        distance(Array(everything.prefix(expected.count)), from: expected, width: width)
          < Self.tolerance)
    }

    let tile = model.backend.tileShape(headDim: model.attentionShape(layer: 0).headDim)
    let plain = try Transformer(
      checkpoint: try golden.checkpoint(), backend: ReferenceBackend(tile: tile))
    for pattern in [HeadPattern.aShape(sink: 3, local: 20), .verticalSlash(vertical: 5, slash: 4)] {
      let values = try logits(model, options(pattern))
      let reference = try logits(plain, options(pattern))
      #expect(distance(values, from: reference, width: width) < Self.tolerance)
    }
  }

  @Test func `every golden in the folder is tested`() throws {
    let folder = try #require(opendir(Golden.folder))
    defer { closedir(folder) }
    var found: Set<String> = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasSuffix(".golden.safetensors") {
        found.insert(String(name.dropLast(".golden.safetensors".count)))
      }
    }
    #expect(found == Set((Golden.all + Golden.inBlocks).map(\.name)))
  }
}
