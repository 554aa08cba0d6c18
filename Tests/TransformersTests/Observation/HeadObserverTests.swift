import Compute
import SparseAttention
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What is seen of a head, beside the softmax of its queries and keys pair by pair.
@Suite struct HeadObserverTests {
  private static let tokens = 300
  private let ids = TemporaryCheckpoint.ids(Self.tokens)

  private func observe(
    _ model: Transformer, layer: Int, head: Int, cells: Int, _ options: PrefillOptions
  ) throws -> (HeadObservation, PrefillReport) {
    var options = options
    let observer = HeadObserver(layer: layer, head: head, tokens: ids.count, cells: cells)
    options.observer = observer
    let cache = try model.makeCache(capacity: ids.count, layers: 0..<layer + 1)
    let run = try PrefillRun(model, .tokens(ids), cache: cache, options: options)
    while true {
      if case .finished = try run.advance() { break }
    }
    return (
      observer.observation(of: model, report: run.report, planner: options.planner), run.report
    )
  }

  /// Probabilities of every pair of a dense pass, [query][key].
  private func probabilities(_ model: Transformer, layer: Int, head: Int) throws -> [[Double]] {
    var walk = try LayerWalk(model, ids: ids)
    var queries: [Float] = []
    var keys: [Float] = []
    let shape = model.attentionShape(layer: layer)
    for number in 0...layer {
      try walk.advance { block in
        guard number == layer else { return }
        queries += try model.backend.read(block.q)
        let keyHead = head / shape.groupSize
        keys = try model.backend.read(
          block.keysAndValues.keys.slice(rows: keyHead..<keyHead + 1))
      }
    }
    let dim = shape.headDim
    return ids.indices.map { query in
      let row = (query * shape.queryHeads + head) * dim
      let scores = (0...query).map { key in
        key < shape.firstKey(visibleFrom: query)
          ? -.infinity
          : (0..<dim).reduce(0.0) {
            $0 + Double(queries[row + $1]) * Double(keys[key * dim + $1])
          } * Double(shape.scale)
      }
      let weights = scores.map { exp($0) }
      let sum = weights.reduce(0, +)
      return weights.map { $0 / sum }
    }
  }

  @Test(arguments: TestBackend.allCases, [nil, 128])
  func `masses are the sums of probabilities over cells`(
    backend: TestBackend, chunk: Int?
  ) throws {
    for fields in [[:], ["model_type": "\"mistral\"", "sliding_window": "70"]] {
      let model = try TemporaryCheckpoint(fields: fields).load(backend)
      let seen = try observe(
        model, layer: 1, head: 3, cells: 100, PrefillOptions(chunk: chunk, rowBlock: 64)
      ).0
      let expected = try probabilities(model, layer: 1, head: 3)
      #expect(seen.pattern == "dense" && seen.density == 1 && seen.keptMass > 0.99999)
      #expect(seen.slidingWindow == (fields.isEmpty ? nil : 70))
      for row in 0..<100 {
        for column in 0...row {
          var sum = 0.0
          for query in 3 * row..<3 * row + 3 {
            for key in 3 * column..<min(3 * column + 3, query + 1) { sum += expected[query][key] }
          }
          let mass = Double(seen.cells.mass[row][column])
          #expect(abs(mass - sum / 3) <= 0.01 * sum / 3 + 1e-6, "\(row) \(column)")
          #expect(seen.cells.keptMass[row][column] == seen.cells.mass[row][column])
        }
      }
    }
  }

  @Test(arguments: TestBackend.allCases, [nil, 128])
  func `what the index leaves out is seen, pair for pair`(
    backend: TestBackend, chunk: Int?
  ) throws {
    let model = try TemporaryCheckpoint().load(backend)
    let patterns: [HeadPattern] = [
      .aShape(sink: 4, local: 20), .verticalSlash(vertical: 9, slash: 2), .dense,
      .blockSparse(topK: 1),
    ]
    let planner = AttentionPlanner(
      configuration: PatternConfiguration(patterns: [patterns, patterns]), exact: true)
    let options = PrefillOptions(planner: planner, chunk: chunk)
    for head in 0..<4 {
      // A cell for each pair, and every query sampled.
      let (seen, report) = try observe(model, layer: 0, head: head, cells: 300, options)
      let computed = seen.cells.computedPairs.joined().reduce(0.0) { $0 + Double($1) }
      #expect(Int(computed) == report.computedPairs[0][head])
      #expect(seen.pattern == patterns[head].label)
      #expect(abs(seen.density - computed / Double(300 * 301 / 2)) < 1e-9)
      // Queries and keys of the first layer are those of any pass.
      let probabilities = try probabilities(model, layer: 0, head: head)
      var kept = 0.0
      for query in 0..<300 {
        for key in 0...query {
          let isComputed = seen.cells.computedPairs[query][key] == 1
          if isComputed { kept += probabilities[query][key] }
          if head == 0, key < 4 || query - key < 20 { #expect(isComputed) }
          #expect(
            seen.cells.keptMass[query][key] == (isComputed ? seen.cells.mass[query][key] : 0))
        }
      }
      #expect(abs(seen.keptMass - kept / 300) < 0.005)
      #expect(seen.keptMass < 1 || head == 2)
    }
  }

  @Test(arguments: TestBackend.allCases)
  func `looking changes nothing that is computed`(backend: TestBackend) throws {
    let model = try TemporaryCheckpoint().load(backend)
    let planner = AttentionPlanner(
      configuration: .uniform(.verticalSlash(vertical: 9, slash: 2), layers: 2, heads: 4),
      exact: true)
    var options = PrefillOptions(planner: planner, chunk: 128)
    let expected = try model.prefill(
      ids, cache: try model.makeCache(capacity: ids.count), options: options
    ).logits
    options.observer = HeadObserver(layer: 0, head: 1, tokens: ids.count, cells: 32)
    let found = try model.prefill(
      ids, cache: try model.makeCache(capacity: ids.count), options: options
    ).logits
    #expect(found == expected)
  }

  @Test func `a head that is dense in a part says why`() throws {
    let model = try TemporaryCheckpoint().load(.reference)
    let planner = AttentionPlanner(
      configuration: .uniform(.verticalSlash(vertical: 9, slash: 2), layers: 2, heads: 4),
      exact: true)
    // The last of the chunks has 44 rows.
    let seen = try observe(
      model, layer: 0, head: 0, cells: 32, PrefillOptions(planner: planner, chunk: 128)
    ).0
    #expect(seen.denseReasons == ["the chunk has 44 rows, fewer than 64"])
  }

  @Test func `scores that are no numbers are said`() throws {
    let checkpoint = try TemporaryCheckpoint { tensors in
      for name in tensors.keys where name.hasSuffix("layers.1.self_attn.q_proj.weight") {
        let count = tensors[name]?.floats.count ?? 0
        tensors[name]?.floats = Array(repeating: 3e38, count: count)
      }
    }
    let model = try checkpoint.load(.reference)
    #expect(throws: TransformerError.self) {
      try observe(model, layer: 1, head: 0, cells: 32, PrefillOptions())
    }
  }
}
