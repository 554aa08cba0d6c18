import Checkpoints
import Compute
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

  @Test(arguments: Golden.all)
  func `rotary frequencies and attention scaling equal those of transformers`(golden: Golden) throws
  {
    let configuration = try golden.checkpoint().configuration
    let rotary = RotaryScaling(
      headDim: configuration.headDimension, theta: configuration.ropeTheta,
      maxPositionEmbeddings: configuration.maxPositionEmbeddings,
      scaling: configuration.ropeScaling)
    let embedding = rotary.embedding(forLength: try golden.ids().count)
    let expected = try golden.inverseFrequencies()
    #expect(embedding.inverseFrequencies.count == expected.count)
    for (value, target) in zip(embedding.inverseFrequencies, expected) {
      #expect(abs(value - target) <= 4 * target.ulp)
    }
    #expect(abs(embedding.attentionScaling - (try golden.attentionScaling())) < 1e-6)
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
    #expect(found == Set(Golden.all.map(\.name)))
  }
}
