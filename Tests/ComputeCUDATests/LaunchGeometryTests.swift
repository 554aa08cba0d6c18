import CUDASources
import Compute
import ComputeCUDA
import Testing

/// The numbers that Swift launches kernels with are those that the kernels' files state.
@Suite struct LaunchGeometryTests {
  private func text(of file: String) throws -> String {
    let source = try #require(
      (KernelSource.kernels + KernelSource.headers).first { $0.name == file })
    return String(cString: source.text)
  }

  @Test func `shared memory of the attention kernels`() throws {
    let portable = try text(of: "attention.cu")
    let bytes = [64, 96, 128].map { "\(AttentionLaunch.sharedBytes(headDim: $0)) (d\($0))" }
    #expect(portable.contains("dynamic shared memory, bytes: " + bytes.joined(separator: ", ")))
    let step = try text(of: "attention_step.cuh")
    #expect(step.contains("threads = \(AttentionLaunch.threads);"))
    #expect(step.contains("rows = \(AttentionLaunch.rows);"))
    let hopper = try text(of: HopperLaunch.file)
    let most = [64, 128].map { "\(HopperLaunch.sharedBytes(headDim: $0)) (d\($0))" }
    #expect(hopper.contains("dynamic shared memory, bytes: " + most.joined(separator: ", ")))
    #expect(hopper.contains("block  x = \(HopperLaunch.threads)"))
    let scoring = try text(of: ScoringLaunch.file)
    #expect(scoring.contains("Block: \(ScoringLaunch.threads)."))
    let float8 = try text(of: Float8Launch.file)
    #expect(float8.contains("dynamic shared memory, bytes: \(Float8Launch.sharedBytes) (d128)"))
    #expect(float8.contains("block  x = \(Float8Launch.threads)"))
    let blocks = try text(of: Float8Launch.blocksFile)
    #expect(blocks.contains("blocks of \(Float8Launch.blockBytes) bytes"))
    #expect(blocks.contains("[kvHeads], \(4 * Float8Launch.factors) bytes each"))
    #expect(blocks.contains("rowsOfChunk = \(Float8Launch.rowsOfChunk);"))
    let rows = try text(of: "row_attention.cu")
    #expect(rows.contains("dynamic shared memory, bytes: 98304 (d64), 73728 (d96), 98304 (d128)"))
    #expect(rows.contains("splits * rows * groupSize <= \(AttentionLaunch.rowPartials):"))
  }

  @Test func `rows and threads of the kernels beside attention`() throws {
    let elementwise = try text(of: "elementwise.cu")
    #expect(elementwise.contains("rows = \(EmbeddingLaunch.rows);"))
    #expect(elementwise.contains("rows of at most \(NormLaunch.narrow) "))
    // Every lane keeps four pieces of eight.
    #expect(NormLaunch.lanes(width: NormLaunch.narrow) * 4 * 8 == NormLaunch.narrow)
    for (width, lanes) in [(8, 1), (16, 2), (64, 8), (80, 16), (128, 16), (256, 32), (384, 32)] {
      #expect(NormLaunch.lanes(width: width) == lanes)
    }
    #expect(try text(of: "sampling.cu").contains("threads = \(SamplingLaunch.threads);"))
    #expect(try text(of: "fp8_rows.cu").contains("threads = 1024;"))
    for (width, threads) in [(16, 32), (4096, 128), (14336, 448), (18944, 608), (65536, 1024)] {
      #expect(QuantizationLaunch.threads(width: width) == threads)
    }
  }

  @Test("Geometry of routing and of products with experts")
  func experts() throws {
    let products = try text(of: "expert_products.cu")
    #expect(products.contains("\(ExpertLaunch.sharedBytes) bytes of shared memory"))
    #expect(products.contains("rows = \(ExpertLaunch.tileRows);"))
    #expect(products.contains("columns = gated ? \(ExpertLaunch.gatedTileOutputs)"))
    let hopper = try text(of: "expert_products_hopper.cu")
    #expect(hopper.contains("\(ExpertLaunch.hopperSharedBytes) bytes of shared memory"))
    #expect(hopper.contains("\(ExpertLaunch.hopperThreads)"))
    let routing = try text(of: "experts.cu")
    #expect(routing.contains("fewChoices = \(ExpertLaunch.fewChoices);"))
    #expect(routing.contains("groups <= \(ExpertLaunch.mostGroups)."))
    // One tile for every expert that has rows, and what is full.
    #expect(ExpertLaunch.mostTiles(positions: 1, experts: 128) == 1)
    #expect(ExpertLaunch.mostTiles(positions: 1024, experts: 4) == 12)
  }

  @Test func `geometry and order of block-sparse selection`() throws {
    let pooling = try text(of: BlockLaunch.file)
    let products = try text(of: "mean_products.cuh")
    #expect(products.contains("static constexpr int queries = \(BlockLaunch.queries);"))
    #expect(products.contains("static constexpr int keys = \(BlockLaunch.keys);"))
    #expect(products.contains("static constexpr int threads = \(BlockLaunch.threads);"))
    #expect(pooling.contains("static constexpr int threads = \(BlockLaunch.threads);"))
    #expect(pooling.contains("Grid: slots. Block: \(BlockLaunch.countThreads)."))
    #expect(pooling.contains("any; \(BlockLaunch.gatherThreads) is good"))
    #expect(BlockLaunch.scoreGrid(keyBlocks: 129, slabPairs: 33, heads: 5) == (2, 2, 5))
    #expect(BlockLaunch.scoreGrid(keyBlocks: 128, slabPairs: 32, heads: 1) == (1, 1, 1))
    #expect(MemoryLayout<mi_block_head>.stride == 8)
    #expect(MemoryLayout<mi_block_parameters>.stride == 152)
    #expect(pooling.contains("by value; \(MemoryLayout<mi_block_parameters>.stride) bytes"))
  }

  @Test func `what bands are chosen by`() throws {
    let times = SelectionLaunch.bandTimes
    #expect(
      try text(of: "plan.cu").contains(
        "bandTime = \(times.product), loadTime = \(times.load);"))
  }

  @Test func `geometry of blocks chosen by their shares`() throws {
    let shares = try text(of: ShareLaunch.file)
    for most in ShareLaunch.choices {
      #expect(shares.contains(" select_shares_\(most)("))
      #expect(shares.contains("chooseByWarps<\(most / 32)>(p)"))
    }
    #expect(ShareLaunch.choice(keyBlocks: 256) == ("select_shares_256", 8))
    #expect(ShareLaunch.choice(keyBlocks: 257) == ("select_shares_1024", 8))
    #expect(ShareLaunch.choice(keyBlocks: 2049) == ("select_shares", 1))
    let choice = try text(of: "share_choice.cuh")
    #expect(choice.contains("static constexpr int threads = \(ShareLaunch.threads);"))
    #expect(shares.contains("Grid: slots. Block: \(ShareLaunch.countThreads)."))
    #expect(shares.contains("Grid: (chunkBlocks, slots). Block: \(ShareLaunch.listThreads)."))
    let scores = try text(of: ShareLaunch.scores)
    #expect(scores.contains("static constexpr int threads = \(ShareLaunch.threads);"))
    let pooled = try text(of: ShareLaunch.pooled)
    #expect(pooled.contains("Block: \(ShareLaunch.threads)."))
    let products = try text(of: "mean_products.cuh")
    #expect(products.contains("static constexpr int queries = \(ShareLaunch.pooledQueries);"))
    #expect(products.contains("static constexpr int threads = \(ShareLaunch.threads);"))
    #expect(try text(of: "shares.cuh").contains("scoreTile = \(ShareIndexSizes.scoreTile);"))
    let bands = try text(of: BandChoiceLaunch.file)
    #expect(bands.contains("Grid: slots. Block: \(BandChoiceLaunch.keepThreads)."))
    #expect(bands.contains("Grid: slots. Block: \(BandChoiceLaunch.threads)."))
    #expect(bands.contains("by value; \(MemoryLayout<mi_band_choice_parameters>.stride) bytes"))
    #expect(MemoryLayout<mi_share_head>.stride == 32)
    #expect(MemoryLayout<mi_share_parameters>.stride == 224)
    #expect(MemoryLayout<mi_pooled_score_parameters>.stride == 80)
  }

  /// Offsets are checked when both sides are compiled (`layouts.cuh`); this is what Swift sees of them.
  @Test func `parameter structs lie as the layouts of the kernels state`() throws {
    let layouts = try text(of: "layouts.cuh")
    func states(_ type: String, _ kernel: String, _ host: String, _ offset: Int?) throws -> Bool {
      let sections = layouts.split(separator: "#define ")
      let section = try #require(sections.first { $0.hasPrefix("MI_LAYOUT_\(type)(") })
      return section.contains("FIELD(type, \(kernel), \(host), \(try #require(offset)))")
    }
    typealias Plan = mi_head_plan
    #expect(try states("HeadPlan", "kind", "kind", MemoryLayout<Plan>.offset(of: \.kind)))
    #expect(
      try states("HeadPlan", "stepCount", "step_count", MemoryLayout<Plan>.offset(of: \.step_count))
    )
    #expect(
      try states("HeadPlan", "denseFrom", "dense_from", MemoryLayout<Plan>.offset(of: \.dense_from))
    )
    typealias Attention = mi_attention_parameters
    #expect(
      try states(
        "AttentionParameters", "planFirstPosition", "plan_first_position",
        MemoryLayout<Attention>.offset(of: \.plan_first_position)))
    #expect(
      try states(
        "AttentionParameters", "window", "window", MemoryLayout<Attention>.offset(of: \.window)))
    #expect(
      try states(
        "AttentionParameters", "endKey", "end_key", MemoryLayout<Attention>.offset(of: \.end_key)))
    typealias Rows = mi_row_attention_parameters
    #expect(
      try states(
        "RowAttentionParameters", "splits", "splits", MemoryLayout<Rows>.offset(of: \.splits)))
  }

  @Test func `every parameter struct has a layout that its kernels check`() throws {
    let layouts = try text(of: "layouts.cuh")
    let names = layouts.split(separator: "\n").filter { $0.hasPrefix("#define MI_SIZE_") }
      .compactMap { $0.dropFirst(16).split(separator: " ").first }
    #expect(names.count >= 15)
    let texts = (KernelSource.kernels + KernelSource.headers).map { String(cString: $0.text) }
    for name in names {
      #expect(texts.contains { $0.contains("MI_CHECK_LAYOUT(\(name));") }, "\(name)")
    }
  }

  @Test func `parameter structs have the sizes that the kernels expect`() {
    #expect(MemoryLayout<mi_head_plan>.stride == 64)
    #expect(MemoryLayout<mi_head_budget>.stride == 16)
    #expect(MemoryLayout<mi_fixed_bands>.stride == 32)
    #expect(MemoryLayout<mi_attention_parameters>.stride == 104)
    #expect(MemoryLayout<mi_selection_parameters>.stride == 88)
    #expect(MemoryLayout<mi_plan_parameters>.stride == 128)
    #expect(MemoryLayout<mi_fp8_parameters>.stride == 48)
    #expect(MemoryLayout<mi_row_attention_parameters>.stride == 136)
    #expect(MemoryLayout<mi_sequence_row>.stride == 40)
    #expect(MemoryLayout<mi_decoding_heads>.stride == 104)
    #expect(MemoryLayout<mi_decoding_product>.stride == 216)
    // CUlaunchConfig and CUlaunchAttribute of cuda.h.
    #expect(MemoryLayout<mi_launch_configuration>.stride == 56)
    #expect(MemoryLayout<mi_launch_attribute>.stride == 72)
    #expect(MemoryLayout<mi_tensor_map>.size == 128)
  }
}
