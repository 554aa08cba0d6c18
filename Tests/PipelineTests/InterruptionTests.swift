import Compute
import Pipeline
import SparseAttention
import Synchronization
import Testing
import Transformers

/// Pipelines in which a stage fails, is cancelled, or is left alone.
struct InterruptionTests {
  static let stages: [Range<Int>] = [0..<1, 1..<2, 2..<4]

  private static var options: PrefillOptions {
    PrefillOptions(
      planner: Mesh.planner(layers: 4), chunk: 32, rowBlock: 32, lastLayerLastRowOnly: true)
  }

  /// Reads a prompt that something interrupts, and what is left of it afterwards: the same logits as if
  /// nothing had happened.
  private func interrupt(
    stage: Int, event: @escaping @Sendable (Int) throws -> Void,
    options change: (inout PrefillOptions) -> Void = { _ in },
    check: (any Error) -> Void
  ) throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(203)
    let expected = try {
      let model = try mesh.whole(.cpu)
      return try model.prefill(
        ids, cache: model.makeCache(capacity: 210), options: Self.options
      ).logits
    }()
    let pipeline = try mesh.pipeline(.cpu, Self.stages) { number, backend in
      number == stage ? InterruptedBackend(backend, event: event) : backend
    }
    let model = try pipeline.makeTransformer()
    let cache = try model.makeCache(capacity: 210)
    var options = Self.options
    change(&options)
    do {
      _ = try model.prefill(ids, cache: cache, options: options)
      Issue.record("nothing interrupted the prompt")
    } catch { check(error) }
    let kept = cache.count
    #expect(kept % 32 == 0 && kept < ids.count)
    let rest = try model.prefill(Array(ids[kept...]), cache: cache, options: Self.options)
    #expect(rest.logits == expected)
  }

  /// Norms of a stage, in the beginning, in the middle and near the end of its work.
  static let moments = [1, 9, 17]

  @Test(
    "a stage that fails stops all with one message, and what was read before is kept",
    arguments: [0, 1, 2], moments)
  func failure(stage: Int, moment: Int) throws {
    let hasFailed = Atomic<Bool>(false)
    try interrupt(stage: stage) { call in
      guard call == moment, !hasFailed.exchange(true, ordering: .relaxed) else { return }
      throw ComputeError.outOfMemory(wantedBytes: 1, purpose: "a test")
    } check: { error in
      let text = "\(error)"
      #expect(
        text.hasPrefix(
          "stage \(stage + 1) of 3 (cpu:\(stage), layers \(Self.stages[stage])): not enough memory")
      )
      #expect((error as? PipelineError)?.root is ComputeError)
    }
  }

  @Test("cancellation in any stage stops all", arguments: [0, 1, 2], moments)
  func cancellation(stage: Int, moment: Int) throws {
    let isCancelled = Atomic<Bool>(false)
    try interrupt(stage: stage) { call in
      if call == moment { isCancelled.store(true, ordering: .relaxed) }
    } options: {
      $0.isCancelled = { isCancelled.load(ordering: .relaxed) }
    } check: { error in
      #expect(error is CancellationError)
    }
  }

  struct Refusal: Error {}

  @Test("what the progress callback throws comes out as it is")
  func callback() throws {
    let calls = Atomic<Int>(0)
    try interrupt(stage: 0) { _ in
    } options: {
      $0.progress = { _ in
        if calls.add(1, ordering: .relaxed).newValue == 11 { throw Refusal() }
      }
    } check: { error in
      #expect(error is Refusal)
    }
  }

  @Test("a reading may rest, and may be dropped between two chunks", arguments: [0, 1, 3])
  func dropping(chunks: Int) throws {
    let mesh = try Mesh()
    let ids = Mesh.ids(203)
    let whole = try mesh.whole(.cpu)
    let expected = try whole.prefill(
      ids, cache: whole.makeCache(capacity: 210), options: Self.options
    ).logits
    let model = try mesh.pipeline(.cpu, Self.stages).makeTransformer()
    let cache = try model.makeCache(capacity: 210)
    do {
      let reading = try model.makeReading(ids, cache: cache, options: Self.options)
      #expect(throws: TransformerError.cacheInUse) { try model.prefill([1], cache: cache) }
      for chunk in 0..<chunks {
        guard case .chunk(let positions, _) = try reading.advance() else {
          Issue.record("no chunk \(chunk)")
          return
        }
        #expect(positions == reading.chunks[chunk])
      }
    }
    #expect(cache.count == 32 * chunks)
    let rest = try model.prefill(
      Array(ids[cache.count...]), cache: cache, options: Self.options)
    #expect(rest.logits == expected)
  }

  @Test("a token that fails to be decoded leaves the cache as it was", arguments: [0, 1, 2])
  func decoding(stage: Int) throws {
    let mesh = try Mesh()
    let fails = Atomic<Bool>(false)
    let model = try mesh.pipeline(.cpu, Self.stages) { number, backend in
      number != stage
        ? backend
        : InterruptedBackend(backend) { _ in
          if fails.load(ordering: .relaxed) {
            throw ComputeError.outOfMemory(wantedBytes: 1, purpose: "a test")
          }
        }
    }.makeTransformer()
    let cache = try model.makeCache(capacity: 100)
    _ = try model.prefill(Mesh.ids(64), cache: cache)
    fails.store(true, ordering: .relaxed)
    #expect(throws: PipelineError.self) { try model.decode(5, cache: cache) }
    #expect(cache.count == 64)
    fails.store(false, ordering: .relaxed)
    let found = try model.decode(5, cache: cache)
    let whole = try mesh.whole(.cpu)
    let other = try whole.makeCache(capacity: 100)
    _ = try whole.prefill(Mesh.ids(64), cache: other)
    #expect(found == (try whole.decode(5, cache: other)))
  }
}
