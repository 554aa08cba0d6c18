import Checkpoints
import Compute
import SparseAttention
import Testing
import Transformers

struct DualChunkTests {
  /// Chunks of 128 positions; 400 tokens make four of them.
  private func checkpoint() throws -> TemporaryCheckpoint {
    try TemporaryCheckpoint(fields: [
      "dual_chunk_attention_config":
        #"{"chunk_size": 160, "local_size": 32, "original_max_position_embeddings": 200}"#
    ])
  }

  private func options(_ pattern: HeadPattern, chunk: Int? = nil) -> PrefillOptions {
    PrefillOptions(
      planner: AttentionPlanner(
        configuration: .uniform(pattern, layers: 2, heads: 4), exact: true), chunk: chunk)
  }

  @Test(arguments: TestBackend.allCases)
  func `sparse prefill with budgets that take everything is dense over all regions`(
    backend: TestBackend
  ) throws {
    let model = try checkpoint().load(backend)
    let ids = TemporaryCheckpoint.ids(400)
    let dense = try score(model, ids)
    for pattern in [
      HeadPattern.aShape(sink: 1, local: 9999), .blockSparse(topK: 100),
      .verticalSlash(vertical: 399, slash: 399),
    ] {
      let values = try score(model, ids, options(pattern))
      #expect(distance(values, from: dense, width: model.vocabularySize) < 2e-5)
    }
    let plain = try TemporaryCheckpoint().load(backend)
    #expect(
      distance(try score(plain, ids), from: dense, width: model.vocabularySize) > 1e-2)
  }

  /// Both read the same index, tile by tile, but the reference masks pairs one by one.
  @Test func `sparse prefill over regions equals its definition`() throws {
    let checkpoint = try checkpoint()
    let model = try checkpoint.load()
    let tile = model.backend.tileShape(headDim: 16)
    let plain = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory),
      backend: ReferenceBackend(tile: tile))
    let ids = TemporaryCheckpoint.ids(400)
    for pattern in [
      HeadPattern.verticalSlash(vertical: 9, slash: 5), .aShape(sink: 4, local: 20),
      .blockSparse(topK: 2),
    ] {
      let values = try score(model, ids, options(pattern))
      let expected = try score(plain, ids, options(pattern))
      #expect(distance(values, from: expected, width: model.vocabularySize) < 1e-4)
    }
  }

  @Test(arguments: TestBackend.allCases)
  func `chunks of dual chunk attention estimate with their own last rows`(
    backend: TestBackend
  ) throws {
    let model = try checkpoint().load(backend)
    let ids = TemporaryCheckpoint.ids(400)
    let pattern = HeadPattern.verticalSlash(vertical: 9, slash: 5)
    let whole = try score(model, ids, options(pattern))
    let cut = try score(model, ids, options(pattern, chunk: 128))
    #expect(distance(whole, from: cut, width: model.vocabularySize) < 2e-5)
  }

  @Test("Budgets that grow do so by the factor that attention is sharpened with")
  func scalesBudgets() throws {
    let model = try checkpoint().load()
    let ids = TemporaryCheckpoint.ids(400)
    func logits(_ budget: Int, grows: Bool) throws -> [Float] {
      var options = options(.verticalSlash(vertical: budget, slash: budget))
      options.planner?.scalesBudgets = grows
      return try score(model, ids, options)
    }
    // 0.1 ln(400 / 200) + 1 = 1.0693
    let grown = try logits(60, grows: true)
    #expect(try logits(64, grows: false) == grown)
    #expect(try logits(60, grows: false) != grown)
  }

  @Test func `chunks that do not end at tiles are refused`() throws {
    let checkpoint = try TemporaryCheckpoint(fields: [
      "dual_chunk_attention_config": #"{"chunk_size": 160, "local_size": 31}"#
    ])
    let error = #expect(throws: TransformerError.self) { try checkpoint.load() }
    #expect(error?.description.contains("dual_chunk_attention_config") == true)
  }
}
