import Checkpoints
import Compute
import SparseAttention
import Synchronization
import Testing
import Transformers

/// A prefill that rests, is cancelled, is dropped, fails, or is spread over ranges of layers.
struct PrefillRunTests {
  /// Models and prompts that take different ways through a layer.
  enum Case: String, CaseIterable, Sendable {
    case groupedQueries, oneToken, oddLength, slidingWindow, dualChunk, sparse, sparseSlidingWindow,
      sparseDualChunk

    static let layers = 3

    func checkpoint() throws -> TemporaryCheckpoint {
      var fields: [String: String] = [:]
      switch self {
      case .slidingWindow, .sparseSlidingWindow:
        fields = ["model_type": "\"mistral\"", "sliding_window": "50"]
      case .dualChunk, .sparseDualChunk:
        fields["dual_chunk_attention_config"] = #"{"chunk_size": 160, "local_size": 32}"#
      default: break
      }
      return try TemporaryCheckpoint(fields: fields, layers: Self.layers)
    }

    var ids: [Int32] {
      switch self {
      case .oneToken: TemporaryCheckpoint.ids(1)
      case .oddLength: TemporaryCheckpoint.ids(67)
      default: TemporaryCheckpoint.ids(203)
      }
    }

    var options: PrefillOptions {
      let isSparse = [.sparse, .sparseSlidingWindow, .sparseDualChunk].contains(self)
      return PrefillOptions(
        planner: isSparse ? Self.planner : nil, chunk: self == .oddLength ? nil : 96, rowBlock: 64,
        lastLayerLastRowOnly: self != .groupedQueries)
    }

    /// Heads of different patterns, one of which remembers its first selection.
    static var planner: AttentionPlanner {
      let heads: [HeadPattern] = [
        .staticVerticalSlash(vertical: 3, slash: 3), .blockSparse(topK: 1),
        .verticalSlash(vertical: 5, slash: 3), .aShape(sink: 4, local: 20),
      ]
      return AttentionPlanner(
        configuration: PatternConfiguration(patterns: Array(repeating: heads, count: layers)),
        exact: true)
    }
  }

  /// The logits of the token after the prompt, and of one more that is decoded behind it.
  private func outcome(
    _ model: Transformer, _ cache: KeyValueCache, prompt logits: [Float]
  ) throws -> [Float] {
    logits + (try model.decode(3, cache: cache))
  }

  private func wholeOutcome(_ model: Transformer, _ test: Case) throws -> [Float] {
    let cache = try model.makeCache(capacity: test.ids.count + 1)
    let logits = try model.prefill(test.ids, cache: cache, options: test.options).logits
    return try outcome(model, cache, prompt: logits)
  }

  @Test(arguments: Case.allCases, TestBackend.allCases)
  func `a prefill that rests at every block gives the same bits as one call`(
    test: Case, backend: TestBackend
  ) throws {
    let checkpoint = try test.checkpoint()
    let model = try checkpoint.load(backend)
    let expected = try wholeOutcome(model, test)
    // Other sequences are read and continued meanwhile.
    let otherIDs = TemporaryCheckpoint.ids(130, seed: 3)
    let otherOptions = PrefillOptions(chunk: 64)
    let other = try model.makeCache(capacity: 131)
    let otherRun = try PrefillRun(model, .tokens(otherIDs), cache: other, options: otherOptions)
    let decoded = try model.makeCache(capacity: 200)
    let cache = try model.makeCache(capacity: test.ids.count + 1)
    let run = try PrefillRun(model, .tokens(test.ids), cache: cache, options: test.options)
    var logits: [Float] = []
    var chunks: [Range<Int>] = []
    var steps = 0
    loop: while true {
      switch try run.advance() {
      case .block: break
      case .chunk(let positions, let hidden):
        chunks.append(positions)
        logits = try model.logits(of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      case .finished: break loop
      }
      steps += 1
      _ = try otherRun.advance()
      if decoded.count < decoded.capacity { _ = try model.decode(7, cache: decoded) }
    }
    #expect(try outcome(model, cache, prompt: logits) == expected)
    #expect(chunks == run.chunks && run.report.tokens == test.ids.count)
    #expect(run.progress.fraction > 1 - 1e-9)
    #expect(steps >= 3 * Case.layers - 2)
    // The other prefill, which was interrupted by this one, is right as well.
    var otherLogits: [Float] = []
    otherLoop: while true {
      switch try otherRun.advance() {
      case .block: break
      case .chunk(_, let hidden):
        otherLogits = try model.logits(of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      case .finished: break otherLoop
      }
    }
    if !otherLogits.isEmpty {
      let alone = try model.makeCache(capacity: 131)
      let result = try model.prefill(otherIDs, cache: alone, options: otherOptions)
      #expect(otherLogits == result.logits)
    }
    #expect(other.count == 130)
  }

  @Test(arguments: Case.allCases, TestBackend.allCases)
  func `stages over ranges of layers give the same bits as all layers at once`(
    test: Case, backend: TestBackend
  ) throws {
    let checkpoint = try test.checkpoint()
    let model = try checkpoint.load(backend)
    let whole = try PrefillRun(
      model, .tokens(test.ids), cache: try model.makeCache(capacity: test.ids.count),
      options: test.options, wantsAllRows: true)
    var expected: [[Float]] = []
    whole: while true {
      switch try whole.advance() {
      case .block: continue
      case .chunk(_, let hidden): expected.append(try model.backend.read(hidden))
      case .finished: break whole
      }
    }
    for cut in 1..<Case.layers {
      func stage(_ layers: Range<Int>, _ input: PrefillRun.Input) throws -> PrefillRun {
        try PrefillRun(
          model, input, cache: try model.makeCache(capacity: test.ids.count, layers: layers),
          options: test.options, wantsAllRows: true)
      }
      // A second model stands for another device.
      let first = try stage(0..<cut, .tokens(test.ids))
      let second = try stage(cut..<Case.layers, .hiddenStates(rows: test.ids.count))
      var hiddenStates: [[Float]] = []
      stages: while true {
        switch try first.advance() {
        case .block: continue
        case .chunk(let positions, let hidden):
          #expect(second.awaitedChunk == positions)
          try second.supply(hidden)
        case .finished: break stages
        }
        while second.awaitedChunk == nil {
          guard case .chunk(_, let hidden) = try second.advance() else { continue }
          hiddenStates.append(try model.backend.read(hidden))
          break
        }
      }
      guard case .finished = try second.advance() else {
        Issue.record("the second stage has not finished")
        continue
      }
      #expect(hiddenStates == expected)
      #expect(first.report.computedPairs[..<cut] == whole.report.computedPairs[..<cut])
      #expect(second.report.computedPairs[cut...] == whole.report.computedPairs[cut...])
      #expect(second.report.computedPairs[0].allSatisfy { $0 == 0 })
    }
  }

  /// Interrupts a prefill by `interrupt` after each number of blocks, goes on with what is missing,
  /// and compares with a prefill that nothing interrupted.
  private func checkInterruptions(
    _ test: Case, _ model: Transformer, keyValues: KeyValueOptions = KeyValueOptions(),
    interrupt: (PrefillRun, KeyValueCache) throws -> Void
  ) throws {
    func cache() throws -> KeyValueCache {
      try model.makeCache(
        capacity: test.ids.count + 1, keyValues: keyValues, sequenceLength: test.ids.count)
    }
    let wholeCache = try cache()
    let logits = try model.prefill(test.ids, cache: wholeCache, options: test.options).logits
    let expected = try outcome(model, wholeCache, prompt: logits)
    var counts: Set<Int> = []
    for blocks in 0... {
      let cache = try cache()
      do {
        let run = try PrefillRun(model, .tokens(test.ids), cache: cache, options: test.options)
        for _ in 0..<blocks { _ = try run.advance() }
        if case .chunk(let last, _) = try run.advance(), last.upperBound == test.ids.count { break }
        try interrupt(run, cache)
      }
      counts.insert(cache.count)
      let rest = Array(test.ids[cache.count...])
      let logits = try model.prefill(rest, cache: cache, options: test.options).logits
      #expect(try outcome(model, cache, prompt: logits) == expected, "after \(blocks) blocks")
    }
    // There were interruptions in every chunk.
    let run = try PrefillRun(model, .tokens(test.ids), cache: try cache(), options: test.options)
    #expect(counts.count == run.chunks.count)
  }

  @Test(arguments: Case.allCases, TestBackend.allCases)
  func `a prefill that is dropped at any block leaves the chunks before it, and nothing else`(
    test: Case, backend: TestBackend
  ) throws {
    let checkpoint = try test.checkpoint()
    try checkInterruptions(test, try checkpoint.load(backend)) { _, _ in }
  }

  @Test(arguments: [Case.groupedQueries, .sparse])
  func `a prefill that is dropped leaves nothing in a float8 cache either`(test: Case) throws {
    let checkpoint = try test.checkpoint()
    try checkInterruptions(
      test, try checkpoint.load(.reference), keyValues: KeyValueOptions(type: .float8)
    ) { _, _ in }
  }

  @Test(arguments: [Case.groupedQueries, .sparse, .sparseDualChunk], TestBackend.allCases)
  func `a cancelled prefill stays cancelled and frees the cache`(
    test: Case, backend: TestBackend
  ) throws {
    let checkpoint = try test.checkpoint()
    let model = try checkpoint.load(backend)
    let expected = try wholeOutcome(model, test)
    let flag = Flag()
    var options = test.options
    options.isCancelled = { flag.isSet }
    for blocks in 0..<12 {
      flag.isSet = false
      let cache = try model.makeCache(
        capacity: test.ids.count + 1, sequenceLength: test.ids.count)
      let run = try PrefillRun(model, .tokens(test.ids), cache: cache, options: options)
      for _ in 0..<blocks { _ = try run.advance() }
      flag.isSet = true
      #expect(throws: CancellationError.self) { while true { _ = try run.advance() } }
      flag.isSet = false
      #expect(throws: CancellationError.self) { try run.advance() }
      // The run is still there, and the cache can be used.
      let rest = Array(test.ids[cache.count...])
      let logits = try model.prefill(rest, cache: cache, options: test.options).logits
      #expect(try outcome(model, cache, prompt: logits) == expected)
    }
  }

  private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool {
      get { value.load(ordering: .relaxed) }
      set { value.store(newValue, ordering: .relaxed) }
    }
  }

  @Test func `what static patterns select in a chunk that is dropped is forgotten`() throws {
    let model = try Case.sparse.checkpoint().load()
    func logits(dropping dropped: [Int32]?) throws -> [Float] {
      let cache = try model.makeCache(capacity: 300)
      // Too few rows for an index: nothing is selected yet.
      _ = try model.prefill(
        TemporaryCheckpoint.ids(30), cache: cache, options: PrefillOptions(planner: Case.planner))
      if let dropped {
        let run = try PrefillRun(
          model, .tokens(dropped), cache: cache, options: PrefillOptions(planner: Case.planner))
        // The pass over the keys of one layer, its index, and a block more.
        for _ in 0..<3 { _ = try run.advance() }
      }
      return try model.prefill(
        Case.sparse.ids, cache: cache, options: PrefillOptions(planner: Case.planner)
      ).logits
    }
    let expected = try logits(dropping: nil)
    #expect(try logits(dropping: TemporaryCheckpoint.ids(100, seed: 5)) == expected)
  }

  @Test(arguments: [Case.groupedQueries, .sparse, .dualChunk])
  func `an operation that fails anywhere leaves the chunks before it`(test: Case) throws {
    let checkpoint = try test.checkpoint()
    let backend = InstrumentedBackend()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    func cache() throws -> KeyValueCache {
      try model.makeCache(capacity: test.ids.count + 1, sequenceLength: test.ids.count)
    }
    let expected = try wholeOutcome(model, test)
    let wholeCache = try cache()
    backend.fail(atOperation: nil)
    _ = try model.prefill(test.ids, cache: wholeCache, options: test.options)
    let operations = backend.operations
    #expect(operations > 50)
    for failing in stride(from: 0, to: operations, by: 7) {
      let cache = try cache()
      backend.fail(atOperation: failing)
      #expect(throws: InstrumentedBackend.Failure.self) {
        try model.prefill(test.ids, cache: cache, options: test.options)
      }
      backend.fail(atOperation: nil)
      // What fails behind the last layer leaves the whole prompt.
      guard cache.count < test.ids.count else { continue }
      let rest = Array(test.ids[cache.count...])
      let logits = try model.prefill(rest, cache: cache, options: test.options).logits
      #expect(try outcome(model, cache, prompt: logits) == expected, "operation \(failing)")
    }
  }

  @Test func `nobody else uses a cache that a prefill fills`() throws {
    let model = try Case.groupedQueries.checkpoint().load()
    let ids = Case.groupedQueries.ids
    let cache = try model.makeCache(capacity: 300)
    let expected = try wholeOutcome(model, .groupedQueries)
    let run = try PrefillRun(
      model, .tokens(ids), cache: cache, options: Case.groupedQueries.options)
    var logits: [Float] = []
    loop: while true {
      switch try run.advance() {
      case .block: break
      case .chunk(_, let hidden):
        logits = try model.logits(of: hidden.slice(rows: hidden.rows - 1..<hidden.rows))
      case .finished: break loop
      }
      #expect(throws: TransformerError.cacheInUse) { try model.decode(1, cache: cache) }
      #expect(throws: TransformerError.cacheInUse) {
        try PrefillRun(model, .tokens(ids), cache: cache)
      }
    }
    #expect(try outcome(model, cache, prompt: logits) == expected)
  }

  @Test func `a cache that was cut meanwhile ends the prefill`() throws {
    let model = try Case.groupedQueries.checkpoint().load()
    let cache = try model.makeCache(capacity: 300)
    _ = try model.prefill([1, 2, 3], cache: cache)
    let run = try PrefillRun(model, .tokens([4, 5]), cache: cache)
    _ = try run.advance()
    cache.truncate(to: 1)
    #expect(throws: TransformerError.cacheInUse) { try run.advance() }
    #expect(cache.count == 1)
  }

  @Test func `a stage refuses hidden states that do not fit, and waits for those that do`() throws {
    let model = try Case.groupedQueries.checkpoint().load()
    let cache = try model.makeCache(capacity: 300, layers: 1..<3)
    #expect(throws: TransformerError.self) { try PrefillRun(model, .tokens([1]), cache: cache) }
    #expect(throws: TransformerError.self) { try model.decode(1, cache: cache) }
    #expect(throws: TransformerError.self) { try model.makeCache(capacity: 1, layers: 2..<4) }
    #expect(throws: TransformerError.self) { try model.makeCache(capacity: 1, layers: 2..<2) }
    let run = try PrefillRun(model, .hiddenStates(rows: 3), cache: cache)
    #expect(run.awaitedChunk == 0..<3)
    for shape in [[2, 32], [3, 31], [96]] {
      let hidden = try model.backend.makeTensor(.float32, shape, purpose: "a test")
      #expect(throws: TransformerError.self) { try run.supply(hidden) }
    }
    let hidden = try model.backend.makeTensor(.float32, [3, 32], purpose: "a test")
    try model.backend.write(Array(repeating: 0.5, count: 96), to: hidden)
    try run.supply(hidden)
    #expect(run.awaitedChunk == nil)
    #expect(throws: TransformerError.self) { try run.supply(hidden) }
    while true { if case .finished = try run.advance() { break } }
    #expect(cache.count == 3)
    let other = try PrefillRun(model, .hiddenStates(rows: 3), cache: cache)
    #expect(throws: TransformerError.self) { try other.advance() }
  }
}
