import Compute
import Testing
import Transformers

/// How a device's memory is used, from sizes alone.
@Suite struct MemoryPlanTests {
  /// Llama-3-8B in bfloat16.
  static let sizes = MemoryPlan.Sizes(
    layers: 32, hiddenSize: 4096, intermediateSize: 14336, vocabularySize: 128_256,
    attention: AttentionShape(queryHeads: 32, keyValueHeads: 8, headDim: 128), activationBytes: 2,
    rowBlock: 16384)

  private func plan(
    _ tokens: Int, gibibytes: Int, host: Int = 128, chunk: Int? = nil,
    wanted: KeyValueOptions = KeyValueOptions()
  ) throws -> MemoryPlan {
    try MemoryPlan(
      Self.sizes, tokens: tokens, chunk: chunk, wanted: wanted,
      available: MemoryPlan.Available(deviceBytes: gibibytes << 30, hostBytes: host << 30))
  }

  @Test func `keys and values stay as they are where they fit`() throws {
    let plan = try plan(131_072, gibibytes: 60)
    #expect(plan.keyValues == KeyValueOptions(type: .bfloat16, place: .device))
    #expect(plan.keyValueBytes == 16 << 30)
    #expect(plan.hostBytes == 0)
  }

  @Test func `a million tokens of an 8B model fit 80 GB through the host, 141 GB as float8`() throws
  {
    // Weights have taken 15 GiB of each.
    let small = try plan(1 << 20, gibibytes: 63)
    #expect(small.keyValues == KeyValueOptions(type: .float8, place: .host))
    #expect(small.hostBytes == 64 << 30 && small.keyValueBytes == 64 << 30)
    let large = try plan(1 << 20, gibibytes: 124)
    #expect(large.keyValues == KeyValueOptions(type: .float8, place: .device))
  }

  /// Qwen3-30B-A3B in its 1M mode; weights take 29 GiB in eight bits and 17 in four.
  @Test func `a million tokens of a 30B mixture fit 80 GB with weights of four bits, not of eight`()
    throws
  {
    var sizes = MemoryPlan.Sizes(
      layers: 48, hiddenSize: 2048, intermediateSize: 0, vocabularySize: 151_936,
      attention: AttentionShape(queryHeads: 32, keyValueHeads: 4, headDim: 128),
      activationBytes: 2, rowBlock: 16384)
    sizes.routing = RoutingRule(experts: 128, perRow: 8, score: .softmax, normalizes: true)
    sizes.expertSize = 768
    sizes.dualChunkStride = 126_976
    func plan(device bytes: Int) throws -> MemoryPlan {
      try MemoryPlan(
        sizes, tokens: 1_000_000, chunk: nil,
        wanted: KeyValueOptions(type: .float8, place: .device),
        available: MemoryPlan.Available(deviceBytes: bytes, hostBytes: 0))
    }
    let memory = 80_000_000_000
    #expect(try plan(device: memory - 17 << 30).keyValueBytes == 98304 * 1_000_000 / 2)
    let error = #expect(throws: TransformerError.self) { try plan(device: memory - 29 << 30) }
    #expect(error?.description.contains("1,000,000 tokens do not fit") == true)
  }

  @Test func `narrow inputs of linear layers take room beside the activations`() throws {
    var sizes = Self.sizes
    sizes.hasNarrowInputs = true
    let available = MemoryPlan.Available(deviceBytes: 60 << 30, hostBytes: 0)
    let narrow = try MemoryPlan(
      sizes, tokens: 131_072, chunk: nil, wanted: KeyValueOptions(), available: available)
    let more = narrow.deviceBytes - (try plan(131_072, gibibytes: 60)).deviceBytes
    // A byte for each of the widths 4096, 4096 and 14336, and factors.
    #expect((16384 * 22528)...(16384 * 22560) ~= more)
  }

  @Test func `what the user wants stands, or is refused`() throws {
    let host = try plan(
      4096, gibibytes: 60, host: 0, wanted: KeyValueOptions(type: .bfloat16, place: .host))
    #expect(host.keyValues == KeyValueOptions(type: .bfloat16, place: .host))
    #expect(throws: TransformerError.self) {
      try plan(
        1 << 20, gibibytes: 63, wanted: KeyValueOptions(type: .bfloat16, place: .device))
    }
  }

  @Test func `what attention takes for each key is counted`() throws {
    var sizes = Self.sizes
    sizes.attentionBytesPerKey = 2048
    let available = MemoryPlan.Available(deviceBytes: 60 << 30, hostBytes: 0)
    let with = try MemoryPlan(
      sizes, tokens: 131_072, chunk: nil, wanted: KeyValueOptions(), available: available)
    let without = try plan(131_072, gibibytes: 60)
    #expect(with.deviceBytes - without.deviceBytes == 256 << 20)
  }

  @Test func `what block-sparse heads are selected with is counted`() throws {
    var sizes = Self.sizes
    sizes.blockSparseHeads = 8
    sizes.blockSparseTopK = 100
    sizes.blockScoreBytes = 128 << 20
    let available = MemoryPlan.Available(deviceBytes: 60 << 30, hostBytes: 0)
    func bytes(_ chunk: Int?) throws -> Int {
      try MemoryPlan(
        sizes, tokens: 131_072, chunk: chunk, wanted: KeyValueOptions(), available: available
      ).deviceBytes - plan(131_072, gibibytes: 60, chunk: chunk).deviceBytes
    }
    // 2048 blocks, 1024 pairs: means of 40 heads, all scores at once, and lists of 204 twice; the queries.
    let selection = 40 * 2048 * 512 + 8 * 2048 * 2048 * 4 + 8 * 1024 * (2 * 204 * 4 + 24)
    #expect(try bytes(nil) == selection + 131_072 * 4096 * 2)
    #expect(try bytes(8192) < bytes(nil) / 4)
  }

  @Test func `queries are kept for attention where that costs keys and values nothing`() throws {
    var sizes = Self.sizes
    sizes.chosenBlockHeads = 32
    sizes.shareSources = [.means(size: 128)]
    func plan(_ mebibytes: Int) throws -> MemoryPlan {
      try MemoryPlan(
        sizes, tokens: 131_072, chunk: nil,
        wanted: KeyValueOptions(type: .bfloat16, place: .device),
        available: MemoryPlan.Available(deviceBytes: mebibytes << 20, hostBytes: 0))
    }
    let kept = try plan(60 << 10)
    #expect(kept.keepsQueries && kept.parts.queries == 1 << 30)
    let again = try plan(kept.deviceBytes >> 20 - 1)
    #expect(!again.keepsQueries && again.parts.queries == 0)
    #expect(kept.deviceBytes - again.deviceBytes == 1 << 30)
    #expect(again.keyValues == kept.keyValues)
    // Dense prefill and estimates of last rows make no query that attention could use.
    #expect(try !self.plan(131_072, gibibytes: 60).keepsQueries)
  }

  @Test func `what heads of chosen blocks take is the most of what they score`() throws {
    var sizes = Self.sizes
    sizes.chosenBlockHeads = 32
    func part(_ sources: Set<ShareSource>) throws -> Int {
      sizes.shareSources = sources
      return try MemoryPlan(
        sizes, tokens: 131_072, chunk: nil, wanted: KeyValueOptions(),
        available: MemoryPlan.Available(deviceBytes: 60 << 30, hostBytes: 0)
      ).parts.blockChoices
    }
    let antidiagonals = ShareSource.antidiagonals(stride: 8, queryStride: 1)
    let single = try [part([antidiagonals]), part([.means(size: 128)])]
    #expect(try part([antidiagonals, .means(size: 128)]) == single.max())
    #expect(single.allSatisfy { $0 > 0 } && single[0] != single[1])
  }

  @Test func `a prompt that cannot fit is told the longest that can`() throws {
    let error = #expect(throws: TransformerError.self) {
      try plan(4 << 20, gibibytes: 63, host: 128)
    }
    guard case .doesNotFit(_, let longest, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(longest > 1 << 20)
    #expect(throws: Never.self) { try plan(longest, gibibytes: 63, host: 128) }
    #expect(throws: TransformerError.self) { try plan(longest + 64, gibibytes: 63, host: 128) }
  }

  @Test func `chunks bound what the hidden states take`() throws {
    let whole = try plan(1 << 20, gibibytes: 124)
    let chunked = try plan(1 << 20, gibibytes: 124, chunk: 65536)
    #expect(whole.deviceBytes - chunked.deviceBytes == (8 << 30) - (8 << 26))
  }
}
