import Checkpoints
import Compute
import Pipeline
import SparseAttention
import Synchronization
import TemporaryCheckpoints
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Stages that speak to one another as those of several processes do; here each has a thread.
struct ProcessGroupTests {
  /// A run of so many ranks. Ranks from 1 on serve on threads of their own.
  private final class Run: Sendable {
    let pipeline: LayerPipeline
    private let ended: [Ended]

    private final class Ended: Sendable {
      let outcome = Mutex<Result<Void, any Error>?>(nil)
    }

    init(
      _ mesh: Mesh, stages: [Range<Int>], isSpread: Bool = false, kind: Mesh.Kind = .cpu,
      wrap: @escaping @Sendable (Int, any Backend) -> any Backend = { $1 }
    ) throws {
      let port = Self.freePort()
      let path = mesh.directory.path("model")
      func rank(_ number: Int) -> ProcessRank {
        ProcessRank(
          rank: number, size: stages.count, localRank: number, address: "127.0.0.1", port: port)
      }
      let ended = stages.dropFirst().map { _ in Ended() }
      for number in 1..<stages.count {
        let own = rank(number)
        let end = ended[number - 1]
        try BackgroundThread.start {
          let outcome = Result {
            let backend = wrap(number, try kind.make())
            let checkpoint = try Checkpoint(directory: path)
            let server = try StageServer(
              own, member: LayerPipeline.Member(backend: backend, name: "cpu:\(number)"),
              seconds: 20)
            try server.serve { try Transformer(checkpoint: checkpoint, backend: backend, part: $0) }
          }
          end.outcome.withLock { $0 = outcome }
        }
      }
      self.ended = ended
      let group = try ProcessGroup(rank(0), seconds: 20)
      let backend = wrap(0, try kind.make())
      pipeline = try LayerPipeline(
        group: group, shape: PipelineShape(mesh.checkpoint.configuration),
        member: LayerPipeline.Member(backend: backend, name: "cpu:0"),
        stageLayers: isSpread ? nil : stages.map(\.count)
      ) { try Transformer(checkpoint: mesh.checkpoint, backend: backend, part: $0) }
    }

    /// Ports of this test process, one after the other.
    private static let ports = Atomic<Int>(0)

    private static func freePort() -> Int {
      31_000 + Int(getpid()) % 2_000 * 8 + ports.add(1, ordering: .relaxed).newValue
    }
  }

  private static func outcome(
    _ model: Transformer, _ ids: [Int32], _ options: PrefillOptions
  ) throws -> [Float] {
    let cache = try model.makeCache(
      capacity: ids.count + 8, chunk: options.chunk, planner: options.planner)
    var logits = try model.prefill(ids, cache: cache, options: options).logits
    for id: Int32 in [3, 250, 3] { logits += try model.decode(id, cache: cache) }
    return logits + (try model.prefill(Mesh.ids(5), cache: cache, options: options).logits)
  }

  private static func options(layers: Int) -> PrefillOptions {
    PrefillOptions(
      planner: Mesh.planner(layers: layers), chunk: 32, rowBlock: 32, lastLayerLastRowOnly: true)
  }

  @Test(
    "stages in several processes give one device's results, bit for bit",
    arguments: [[0..<2, 2..<4], [0..<1, 1..<2, 2..<4]])
  func equality(stages: [Range<Int>]) throws {
    let mesh = try Mesh()
    let options = Self.options(layers: 4)
    let whole = try mesh.whole(.cpu)
    let run = try Run(mesh, stages: stages)
    let model = run.pipeline.makeTransformer()
    for tokens in [203, 1, 7] {
      let expected = try Self.outcome(whole, Mesh.ids(tokens), options)
      let found = try Self.outcome(model, Mesh.ids(tokens), options)
      #expect(found.map(\.bitPattern) == expected.map(\.bitPattern))
    }
    // Every row's logits come back too.
    func scores(_ model: Transformer) throws -> ([Float], PrefillReport) {
      var all: [Float] = []
      let report = try model.score(Mesh.ids(90), options: options) { all += $1 }
      return (all, report)
    }
    let (expected, expectedReport) = try scores(whole)
    let (found, report) = try scores(model)
    #expect(found == expected)
    #expect(report.computedPairs == expectedReport.computedPairs)
    #expect(report.causalPairs == expectedReport.causalPairs)
    #expect(Set(report.denseFallbacks) == Set(expectedReport.denseFallbacks))
  }

  @Test("what fails in another process stops all with its name, and reading goes on afterwards")
  func failure() throws {
    let mesh = try Mesh()
    let options = Self.options(layers: 4)
    let hasFailed = Atomic<Bool>(false)
    let run = try Run(mesh, stages: [0..<1, 1..<2, 2..<4]) { number, backend in
      number != 1
        ? backend
        : InterruptedBackend(backend) { call in
          guard call == 9, !hasFailed.exchange(true, ordering: .relaxed) else { return }
          throw ComputeError.outOfMemory(wantedBytes: 1, purpose: "a test")
        }
    }
    let model = run.pipeline.makeTransformer()
    let cache = try model.makeCache(capacity: 210, chunk: 32, planner: options.planner)
    let ids = Mesh.ids(203)
    let error = #expect(throws: PipelineError.self) {
      try model.prefill(ids, cache: cache, options: options)
    }
    #expect(error.map { "\($0)" }?.hasPrefix("stage 2 of 3 (rank 1, ") == true)
    #expect(error.map { "\($0)" }?.contains("not enough memory for a test") == true)
    #expect(cache.count % 32 == 0)
    let whole = try mesh.whole(.cpu)
    let expected = try whole.prefill(
      ids, cache: whole.makeCache(capacity: 210), options: options
    ).logits
    let rest = try model.prefill(Array(ids[cache.count...]), cache: cache, options: options)
    #expect(rest.logits == expected)
  }

  @Test("cancellation reaches other processes")
  func cancellation() throws {
    let mesh = try Mesh()
    let isCancelled = Atomic<Bool>(false)
    let run = try Run(mesh, stages: [0..<2, 2..<4]) { number, backend in
      number != 1
        ? backend
        : InterruptedBackend(backend) { call in
          if call == 9 { isCancelled.store(true, ordering: .relaxed) }
        }
    }
    let model = run.pipeline.makeTransformer()
    var options = Self.options(layers: 4)
    options.isCancelled = { isCancelled.load(ordering: .relaxed) }
    let cache = try model.makeCache(capacity: 210, chunk: 32, planner: options.planner)
    #expect(throws: CancellationError.self) {
      try model.prefill(Mesh.ids(203), cache: cache, options: options)
    }
  }

  @Test("a process that is slower gets fewer layers")
  func spreading() throws {
    let mesh = try Mesh(layers: 6)
    let run = try Run(mesh, stages: [0..<3, 3..<6], isSpread: true) { number, backend in
      number == 0 ? backend : InterruptedBackend(backend) { _ in Mesh.work(milliseconds: 10) }
    }
    #expect(run.pipeline.stageLayers.map(\.count) == [5, 1])
    #expect(run.pipeline.measured?.devices.count == 2)
    let model = run.pipeline.makeTransformer()
    _ = try model.prefill(Mesh.ids(7), cache: model.makeCache(capacity: 10))
  }

  @Test("recall and what a monitor sees cross processes")
  func recall() throws {
    let mesh = try Mesh()
    let whole = try mesh.whole(.cpu)
    let run = try Run(mesh, stages: [0..<1, 1..<2, 2..<4])
    var options = Self.options(layers: 4)
    // Chunks of fewer than 64 rows would be dense.
    options.chunk = 96
    options.measureRecall = true
    options.monitor = RecallMonitor(floor: 1, computesWeakHeadsDensely: true)
    func report(_ model: Transformer) throws -> PrefillReport {
      try model.prefill(
        Mesh.ids(203), cache: model.makeCache(capacity: 210), options: options
      ).report
    }
    let expected = try report(whole)
    let found = try report(run.pipeline.makeTransformer())
    #expect(expected.recall != nil && found.recall == expected.recall)
    #expect(found.headRecalls == expected.headRecalls)
    #expect(found.monitor?.monitor == options.monitor)
    #expect(found.monitor?.recall == expected.monitor?.recall)
    #expect(found.monitor?.headRecalls == expected.monitor?.headRecalls)
    #expect(expected.monitor?.weakHeads.isEmpty == false)
    #expect(Set(found.monitor?.weakHeads ?? []) == Set(expected.monitor?.weakHeads ?? []))
    #expect(found.monitor?.extraPairs == expected.monitor?.extraPairs)
    #expect(found.computedPairs == expected.computedPairs)
  }

  @Test("a cache that was saved by one process is taken up by several, and the other way round")
  func saving() throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(90)
    let file = mesh.directory.path("cache")
    let whole = try mesh.whole(.cpu)
    let run = try Run(mesh, stages: [0..<1, 1..<2, 2..<4])
    let model = run.pipeline.makeTransformer()
    for (saver, reader) in [(whole, model), (model, whole), (model, model)] {
      let cache = try saver.makeCache(capacity: 100)
      _ = try saver.prefill(ids, cache: cache, options: PrefillOptions(chunk: 32))
      try saver.save(cache, tokens: ids, fingerprint: "0123456789abcdef", to: file)
      let expected = try saver.decode(9, cache: cache)
      let restored = try reader.makeCache(capacity: 100)
      // What the cache held before is gone.
      _ = try reader.prefill(Mesh.ids(7), cache: restored)
      #expect(
        try reader.restore(restored, fingerprint: "0123456789abcdef", from: file) == ids)
      #expect(restored.count == 90)
      #expect(try reader.decode(9, cache: restored) == expected)
    }
  }

  @Test("blocks of rows move to other processes and from there, behind others too")
  func blocks() throws {
    let mesh = try Mesh()
    let whole = try mesh.whole(.cpu)
    let run = try Run(mesh, stages: [0..<2, 2..<4])
    let model = run.pipeline.makeTransformer()
    for (saver, reader) in [(whole, model), (model, whole)] {
      let cache = try saver.makeCache(capacity: 100)
      _ = try saver.prefill(Mesh.ids(90), cache: cache, options: PrefillOptions(chunk: 32))
      let target = try reader.makeCache(capacity: 120)
      // What the cache held before is gone.
      _ = try reader.prefill(Mesh.ids(7), cache: target)
      target.beginRestoring(sequenceLength: 90)
      for positions in [0..<50, 50..<90] {
        let block = KeyValueBlock(
          memory: HostStagingMemory(50 * cache.blockExtents.positionByteCount),
          extents: cache.blockExtents, positions: positions.count)
        for layer in cache.layers {
          let source = try saver.makeTransfer(layer: layer, of: cache, count: 90, for: .saving)
          let sink = try reader.makeTransfer(
            layer: layer, of: target, count: positions.upperBound, for: .restoring)
          try source.save(positions, to: block, at: 0)
          try sink.restore(positions, from: block, at: 0)
          try source.close()
          try sink.close()
        }
        target.finishRestoring(count: positions.upperBound)
      }
      #expect(try reader.decode(9, cache: target) == saver.decode(9, cache: cache))
    }
  }

  @Test("rows are appended where the keys and values are")
  func copying() throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(90)
    let whole = try mesh.whole(.cpu)
    let other = try whole.makeCache(capacity: 100)
    _ = try whole.prefill(ids, cache: other)
    other.truncate(to: 40)
    let expected = try whole.decode(9, cache: other)
    let run = try Run(mesh, stages: [0..<2, 2..<4])
    let model = run.pipeline.makeTransformer()
    let source = try model.makeCache(capacity: 100)
    _ = try model.prefill(ids, cache: source, options: PrefillOptions(chunk: 128))
    #expect(model.canCopyRows(of: source))
    let target = try model.makeCache(capacity: 60)
    try model.append([CachedRows(source, rows: 0..<25)], to: target)
    try model.append([CachedRows(source, rows: 25..<40)], to: target)
    #expect(try model.decode(9, cache: target) == expected)
    #expect(source.count == 90)
  }

  @Test("tokens of several sequences cross processes in groups, and each is what it is alone")
  func tokens() throws {
    let mesh = try Mesh()
    let whole = try mesh.whole(.cpu)
    let run = try Run(mesh, stages: [0..<1, 1..<2, 2..<4])
    let model = run.pipeline.makeTransformer()
    func caches(_ model: Transformer) throws -> [KeyValueCache] {
      try (1...5).map { number in
        let cache = try model.makeCache(capacity: 60)
        _ = try model.prefill(Mesh.ids(9 * number), cache: cache)
        return cache
      }
    }
    let (found, alone) = (try caches(model), try caches(whole))
    for round in 0..<3 {
      let ids = (0..<5).map { Int32(7 * round + $0) }
      let hidden = try run.pipeline.hiddenStates(of: ids, caches: found)
      #expect(hidden.map(\.rows) == [1, 2, 2])
      let logits = try hidden.flatMap { group in
        try (0..<group.rows).map { try model.logits(of: group.slice(rows: $0..<$0 + 1)) }
      }
      #expect(try logits == zip(ids, alone).map { try whole.decode($0, cache: $1) })
    }
    #expect(found.map(\.count) == alone.map(\.count))
  }

  @Test("what looks at single layers is refused, and the model is as good as before")
  func refusals() throws {
    let mesh = try Mesh()
    let run = try Run(mesh, stages: [0..<2, 2..<4])
    let model = run.pipeline.makeTransformer()
    let error = #expect(throws: PipelineError.self) { try LayerWalk(model, ids: [1, 2, 3]) }
    #expect(
      error.map { "\($0)" }
        == "looking at single layers works within one process alone: name its devices")
    _ = try model.prefill(Mesh.ids(100), cache: model.makeCache(capacity: 210))
  }

  @Test("a rank that does not come is named")
  func missing() throws {
    let rank = ProcessRank(
      rank: 0, size: 3, localRank: 0, address: "127.0.0.1", port: 30_000 + Int(getpid()) % 1_000)
    let error = #expect(throws: PipelineError.self) { try ProcessGroup(rank, seconds: 0.3) }
    #expect(error.map { "\($0)" }?.hasPrefix("rank 1, 2 cannot be reached (no sign of it") == true)
  }
}
