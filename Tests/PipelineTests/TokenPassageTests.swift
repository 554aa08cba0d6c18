import Compute
import Pipeline
import Synchronization
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Tokens of several sequences on their way through the stages.
struct TokenPassageTests {
  /// Sequences of different lengths, read by a model.
  private func caches(_ model: Transformer, count: Int) throws -> [KeyValueCache] {
    try (1...count).map { number in
      let cache = try model.makeCache(capacity: 60)
      _ = try model.prefill(Mesh.ids(9 * number), cache: cache)
      return cache
    }
  }

  private func logits(
    _ model: Transformer, _ distribution: any LayerDistribution, _ ids: [Int32],
    _ caches: [KeyValueCache]
  ) throws -> [[Float]] {
    try distribution.hiddenStates(of: ids, caches: caches).flatMap { hidden in
      try (0..<hidden.rows).map { try model.logits(of: hidden.slice(rows: $0..<$0 + 1)) }
    }
  }

  @Test("every sequence gets what it gets alone", arguments: Mesh.Kind.allCases)
  func equality(kind: Mesh.Kind) throws {
    let mesh = try Mesh()
    let whole = try mesh.whole(kind)
    let expected = try caches(whole, count: 4).enumerated().map { number, cache in
      try [whole.decode(Int32(number), cache: cache), whole.decode(7, cache: cache)]
    }
    let pipeline = try mesh.pipeline(kind, [0..<1, 1..<2, 2..<4])
    let model = pipeline.makeTransformer()
    let caches = try caches(model, count: 4)
    let first = try logits(model, pipeline, [0, 1, 2, 3], caches)
    let second = try logits(model, pipeline, [7, 7, 7, 7], caches)
    #expect(first == expected.map { $0[0] } && second == expected.map { $0[1] })
    #expect(caches.map(\.count) == [11, 20, 29, 38])
  }

  @Test("there are as many groups as stages, and each stage computes one at once")
  func groups() throws {
    let mesh = try Mesh()
    let isDecoding = Atomic<Bool>(false)
    let norms = Atomic<Int>(0)
    let pipeline = try mesh.pipeline(.cpu, [0..<2, 2..<4]) { _, backend in
      InterruptedBackend(backend) { _ in
        if isDecoding.load(ordering: .relaxed) { norms.add(1, ordering: .relaxed) }
      }
    }
    let model = pipeline.makeTransformer()
    let whole = try mesh.whole(.cpu)
    let (found, alone) = (try caches(model, count: 5), try caches(whole, count: 5))
    isDecoding.store(true, ordering: .relaxed)
    let hidden = try pipeline.hiddenStates(of: [1, 2, 3, 4, 5], caches: found)
    #expect(hidden.map(\.rows) == [2, 3])
    // Two groups, two layers of two norms in each of two stages.
    #expect(norms.load(ordering: .relaxed) == 2 * 2 * 2 * 2)
    isDecoding.store(false, ordering: .relaxed)
    let expected = try alone.enumerated().map { number, cache in
      _ = try whole.decode(Int32(number + 1), cache: cache)
      return try whole.decode(Int32(number + 6), cache: cache)
    }
    #expect(try logits(model, pipeline, [6, 7, 8, 9, 10], found) == expected)
    // One sequence alone is a group of its own.
    #expect(try pipeline.hiddenStates(of: [1], caches: [found[0]]).map(\.rows) == [1])
  }

  @Test("a stage passes one sequence while the next stage passes the one before")
  func overlap() throws {
    let mesh = try Mesh()
    let isDecoding = Atomic<Bool>(false)
    let begun = Atomic<Int>(0)
    let late = Atomic<Int>(0)
    let pipeline = try mesh.pipeline(.cpu, [0..<2, 2..<4]) { stage, backend in
      InterruptedBackend(backend) { _ in
        guard isDecoding.load(ordering: .relaxed) else { return }
        // Two layers have four norms.
        if stage == 0 { return _ = begun.add(1, ordering: .relaxed) }
        // The second stage waits for the first one to be at the second sequence.
        for _ in 0..<2000 where begun.load(ordering: .relaxed) <= 4 { usleep(1000) }
        if begun.load(ordering: .relaxed) <= 4 { late.add(1, ordering: .relaxed) }
      }
    }
    let model = pipeline.makeTransformer()
    let caches = try caches(model, count: 2)
    isDecoding.store(true, ordering: .relaxed)
    _ = try pipeline.hiddenStates(of: [1, 2], caches: caches)
    #expect(late.load(ordering: .relaxed) == 0)
  }

  @Test("a token that fails leaves all caches as they were", arguments: [0, 1, 2])
  func failure(stage: Int) throws {
    let mesh = try Mesh()
    let fails = Atomic<Bool>(false)
    let calls = Atomic<Int>(0)
    let pipeline = try mesh.pipeline(.cpu, [0..<1, 1..<2, 2..<4]) { number, backend in
      number != stage
        ? backend
        : InterruptedBackend(backend) { _ in
          guard fails.load(ordering: .relaxed),
            calls.add(1, ordering: .relaxed).newValue == 5
          else { return }
          throw ComputeError.outOfMemory(wantedBytes: 1, purpose: "a test")
        }
    }
    let model = pipeline.makeTransformer()
    let caches = try caches(model, count: 3)
    fails.store(true, ordering: .relaxed)
    let error = #expect(throws: PipelineError.self) {
      try pipeline.hiddenStates(of: [1, 2, 3], caches: caches)
    }
    #expect(error.map { "\($0)" }?.hasPrefix("stage \(stage + 1) of 3 (cpu:\(stage)") == true)
    #expect(caches.map(\.count) == [9, 18, 27])
    let found = try logits(model, pipeline, [1, 2, 3], caches)
    let whole = try mesh.whole(.cpu)
    let expected = try self.caches(whole, count: 3).enumerated().map {
      try whole.decode(Int32($0 + 1), cache: $1)
    }
    #expect(found == expected)
  }
}
