import BackendTesting
import Checkpoints
import Compute
import SparseAttention
import Testing
import Transformers

/// What prefill asks of a backend that builds indices itself.
@Suite struct DevicePlanningTests {
  private static let heads = 4
  private let ids = TemporaryCheckpoint.ids(720)

  private func planner(
    _ layers: [[HeadPattern]], exact: Bool = true, costModel: SparseCostModel = SparseCostModel()
  ) -> AttentionPlanner {
    AttentionPlanner(
      configuration: PatternConfiguration(patterns: layers), exact: exact, costModel: costModel)
  }

  /// A model of two layers, on a device that builds indices and on the reference.
  private func models(
    _ fields: [String: String] = [:]
  ) throws -> (backend: IndexBuildingBackend, device: Transformer, host: Transformer) {
    let checkpoint = try TemporaryCheckpoint(fields: fields, layers: 2, queryHeads: Self.heads)
    let tile = TileShape(rows: 64, columns: 64)
    let backend = IndexBuildingBackend(tile: tile)
    func model(_ backend: any Backend) throws -> Transformer {
      try Transformer(
        checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    }
    return (backend, try model(backend), try model(ReferenceBackend(tile: tile)))
  }

  private func prefill(_ model: Transformer, _ options: PrefillOptions) throws -> PrefillResult {
    try model.prefill(ids, cache: model.makeCache(capacity: ids.count), options: options)
  }

  private static let mixed: [[HeadPattern]] = [
    [
      .blockSparse(topK: 2), .verticalSlash(vertical: 40, slash: 50), .blockSparse(topK: 100),
      .dense,
    ],
    [
      .aShape(sink: 4, local: 20), .blockSparse(topK: 1), .dense,
      .staticVerticalSlash(vertical: 30, slash: 60),
    ],
  ]

  @Test(arguments: [nil, 128, 320])
  func `block-sparse heads are one request with the others, and nothing is pooled on the host`(
    chunk: Int?
  ) throws {
    let (backend, device, host) = try models()
    let options = PrefillOptions(planner: planner(Self.mixed), chunk: chunk, rowBlock: 64)
    let onDevice = try prefill(device, options)
    let onHost = try prefill(host, options)
    #expect(onDevice.report.computedPairs == onHost.report.computedPairs)
    #expect(distance(onDevice.logits, from: onHost.logits, width: 40) < 2e-5)
    #expect(onDevice.report.density < 0.9)
    #expect(backend.hostPoolings == 0)
    let chunks = (720 + (chunk ?? 720) - 1) / (chunk ?? 720)
    // A last chunk of fewer than 64 rows would be dense; these have 80.
    #expect(backend.requests.count == 2 * chunks)
    for request in backend.requests where request.chunk.keys == 720 {
      let blocks = (720 - 1) / 64 - request.chunk.firstPosition / 64 + 1
      #expect(request.chunk.deviceEstimates.pooledQueries?.shape == [Self.heads, blocks, 16])
    }
    let last = Array(backend.requests.suffix(2))
    #expect(
      last[0].heads == [
        .scored(.pooledMeans, .blocks(.count(2))),
        .scored(.lastRows, .bandsAndColumns(offsets: .count(50), columns: .count(40))),
        .dense, .dense,
      ])
    #expect(last[1].heads[1] == .scored(.pooledMeans, .blocks(.count(1))))
  }

  @Test func `chunks that begin within a block pool the part of it that they have`() throws {
    let (backend, device, host) = try models(["sliding_window": "300", "model_type": "\"mistral\""])
    let options = PrefillOptions(planner: planner(Self.mixed), rowBlock: 64)
    func read(_ model: Transformer) throws -> [Float] {
      let cache = try model.makeCache(capacity: 720)
      _ = try model.prefill(Array(ids[..<333]), cache: cache, options: options)
      return try model.prefill(Array(ids[333...]), cache: cache, options: options).logits
    }
    let logits = try read(device)
    #expect(distance(logits, from: try read(host), width: 40) < 2e-5)
    #expect(backend.hostPoolings == 0)
    #expect(backend.requests.last?.chunk.firstPosition == 333)
    #expect(
      backend.requests.last?.chunk.deviceEstimates.pooledQueries?.shape == [Self.heads, 7, 16])
  }

  /// Chunks of 192 positions; 720 tokens make four of them, the last with two regions beside its own.
  @Test func `regions of dual chunk attention are parts of indices that the device keeps`() throws {
    let (backend, device, host) = try models([
      "dual_chunk_attention_config": #"{"chunk_size": 256, "local_size": 64}"#
    ])
    let options = PrefillOptions(planner: planner(Self.mixed), rowBlock: 64)
    let onDevice = try prefill(device, options)
    let onHost = try prefill(host, options)
    #expect(onDevice.report.computedPairs == onHost.report.computedPairs)
    #expect(distance(onDevice.logits, from: onHost.logits, width: 40) < 2e-5)
    // One index for each layer and chunk.
    #expect(backend.requests.count == 2 * 4)
    #expect(backend.residentParts > 2 * 3)
  }

  @Test func `the request carries the costs by which the host would judge`() throws {
    let (backend, device, _) = try models()
    let costs = SparseCostModel(denseBelow: 10, tilePair: 1.25, columnPair: 3, run: 17)
    let result = try prefill(
      device, PrefillOptions(planner: planner(Self.mixed, exact: false, costModel: costs)))
    let request = try #require(backend.requests.first)
    #expect(request.tileCost == 1.25 && request.columnCost == 3 && request.runCost == 17)
    #expect(!request.exact && result.report.tokens == 720)
    #expect(request.chunk.lastRows.shape == [64, Self.heads, 16])
    #expect(request.forcedColumns == 30 && request.forcedOffsets == 100)
  }

  @Test func `layers without block-sparse heads, and small budgets of all blocks, pool nothing`()
    throws
  {
    let (backend, device, _) = try models()
    let patterns: [[HeadPattern]] = [
      Array(repeating: .verticalSlash(vertical: 40, slash: 50), count: 4),
      [.blockSparse(topK: 12), .blockSparse(topK: 500), .dense, .dense],
    ]
    let result = try prefill(device, PrefillOptions(planner: planner(patterns)))
    // 720 keys are 12 blocks: the second layer takes all of them and is no request.
    #expect(backend.requests.count == 1)
    #expect(backend.requests[0].chunk.deviceEstimates.pooledQueries == nil)
    #expect(result.report.computedPairs[1] == result.report.causalPairs[1])
    #expect(backend.hostPoolings == 0)
  }

  /// Heads that choose blocks, with budgets that differ from head to head.
  private static let chosen: [[HeadPattern]] = [
    [
      HeadPattern(Antidiagonal(rule: ShareRule(share: 0.4, floor: 0.2), columns: 0, last: 0)),
      HeadPattern(PooledBlocks(rule: ShareRule(share: 0.3, floor: 0.1), columns: 8, last: 200)),
      HeadPattern(
        Antidiagonal(rule: ShareRule(share: 0.3), queryStride: 2, columns: 12, last: 128)),
      .dense,
    ],
    [
      HeadPattern(PooledBlocks(rule: ShareRule(share: 0.2), columns: 0, last: 64)),
      .verticalSlash(vertical: 40, slash: 50), .dense,
      HeadPattern(PooledBlocks(rule: ShareRule(share: 0.2), columns: 0, last: 400)),
    ],
  ]

  @Test(arguments: [nil, 384])
  func `heads of chosen blocks compute on a device what they compute on the host`(
    chunk: Int?
  ) throws {
    let (backend, device, host) = try models()
    let options = PrefillOptions(planner: planner(Self.chosen), chunk: chunk, rowBlock: 128)
    let onDevice = try prefill(device, options)
    let onHost = try prefill(host, options)
    #expect(onDevice.report.computedPairs == onHost.report.computedPairs)
    #expect(distance(onDevice.logits, from: onHost.logits, width: 40) < 2e-5)
    #expect(onDevice.report.density < 0.9)
    let last = try #require(
      backend.requests.last { $0.heads[1] == .chosenBlocks && $0.chunk.keys == 720 })
    // The last rows are each head's own, rounded out to a block of 128.
    #expect((0..<4).map { last.chosenHead($0)?.denseFrom } == [nil, 512, 512, nil])
    #expect((0..<4).map { last.chosenHead($0)?.columns } == [0, 8, 12, nil])
  }

  @Test(arguments: [nil, 384])
  func `heads of FlexPrefill are decided on a device as on the host`(chunk: Int?) throws {
    let (backend, device, host) = try models()
    // A tau of 0 trusts no means, one of 1 all; 0.2 lies between.
    func flexPrefill(_ tau: Float) -> HeadPattern {
      HeadPattern(FlexPrefill(share: 0.3, tau: tau, leastKeys: 100))
    }
    let patterns: [[HeadPattern]] = [
      [
        flexPrefill(0), .blockSparse(topK: 2), flexPrefill(1),
        HeadPattern(PooledBlocks(rule: ShareRule(share: 0.3), columns: 7, last: 0)),
      ],
      [flexPrefill(1), .dense, flexPrefill(0.2), HeadPattern(VerticalSlashShare(share: 0.5))],
    ]
    let options = PrefillOptions(planner: planner(patterns), chunk: chunk, rowBlock: 128)
    let onDevice = try prefill(device, options)
    let onHost = try prefill(host, options)
    #expect(onDevice.report.computedPairs == onHost.report.computedPairs)
    #expect(distance(onDevice.logits, from: onHost.logits, width: 40) < 2e-5)
    #expect(onDevice.report.density < 0.95)
    #expect(backend.requests.count == (chunk == nil ? 2 : 4))
    let last = try #require(backend.requests.last)
    #expect(last.heads[0] == .chosenBlocks && last.heads[2] == .chosenBlocks)
    #expect(last.chosenHead(2)?.alternative?.distance == 0.2)
    #expect(last.estimatedBands(2)?.columns == .share(0.3, least: 100))
    #expect(last.estimatedBands(1) == nil && last.estimatedBands(3) != nil)
  }

  @Test(arguments: [nil, 240])
  func `counts are asked for when nothing waits behind them`(chunk: Int?) throws {
    let (backend, device, _) = try models()
    let options = PrefillOptions(planner: planner(Self.mixed), chunk: chunk, rowBlock: 64)
    let report = try prefill(device, options).report
    let made = backend.requests.count
    #expect(made == (chunk == nil ? 2 : 6))
    #expect(backend.countReadings == Array(repeating: made, count: made))
    #expect(report.density < 0.9)

    // Progress weighs what is to come by what was found: it asks behind every chunk.
    let (watched, other, _) = try models()
    var watching = options
    watching.progress = { _ in }
    let same = try prefill(other, watching).report
    #expect(
      watched.countReadings == (chunk == nil ? [2, 2] : [2, 2, 4, 4, 6, 6]))
    #expect(same.computedPairs == report.computedPairs)
    #expect(same.denseFallbacks == report.denseFallbacks)

    // A monitor has to know before attention.
    let (guarded, third, _) = try models()
    var guarding = options
    guarding.monitor = RecallMonitor(floor: 0)
    _ = try prefill(third, guarding)
    #expect(Array(guarded.countReadings.prefix(2)) == [1, 2])
  }

  @Test func `an index is made where the means are`() throws {
    let (backend, device, _) = try models()
    let shape = device.attentionShape(layer: 0)
    func tensor(_ extents: [Int]) throws -> Tensor {
      let tensor = try backend.makeTensor(.float32, extents, purpose: "test")
      try backend.write((0..<tensor.count).map { Float($0 % 7) }, to: tensor)
      return tensor
    }
    let keys = try tensor([shape.keyValueHeads, 256, shape.headDim])
    let q = try tensor([256, shape.queryHeads, shape.headDim])
    var inputs = ChunkInputs(
      shape: shape, layer: KeyValueLayer(keys: keys, values: keys, count: 256), firstPosition: 0,
      rows: 256, lastRows: q.slice(rows: 192..<256))
    let planner = planner([[.blockSparse(topK: 1), .dense, .dense, .dense]])
    func makeIndex(needsHostIndex: Bool = false) throws -> (index: SparseIndex, report: IndexReport)
    {
      try planner.makeIndex(
        layer: 0, inputs, backend: backend, memory: SelectionMemory(),
        needsHostIndex: needsHostIndex)
    }
    for needsHostIndex in [true, false] {
      var sketch = try #require(
        try QuerySketch(
          planner, layer: 0, backend: backend, shape: shape, firstPosition: 0, rows: 256,
          needsHostIndex: needsHostIndex))
      try sketch.add(
        q.slice(rows: 0..<128), firstPosition: 0, layer: inputs.layer)
      try sketch.add(
        q.slice(rows: 128..<256), firstPosition: 128, layer: inputs.layer)
      inputs.estimates = sketch.estimates
      #expect((inputs.hostEstimates.pooledQueries == nil) == !needsHostIndex)
      #expect((inputs.deviceEstimates.pooledQueries == nil) == needsHostIndex)
      let (index, report) = try makeIndex(needsHostIndex: needsHostIndex)
      #expect((index.resident == nil) == needsHostIndex)
      #expect(report.computedPairs[0] < report.causalPairs[0])
      #expect(backend.requests.count == (needsHostIndex ? 0 : 1))
    }
    // Means on the host alone, as for inspection, on a device that could build the index.
    inputs.estimates = .host(
      HostQueryEstimates(
        pooledQueries: try BlockSparse.pooledQueries(q, firstPosition: 0, backend: backend)))
    #expect(try makeIndex().index.resident == nil)
    inputs.estimates = nil
    #expect(throws: ComputeError.self) { try makeIndex() }
  }
}
