import Compute
import PatternSearch
import SparseAttention
import Testing
import Transformers

@Suite struct LayerMeasurerTests {
  @Test(arguments: [nil, 320])
  func `Recall, output error and residual error are those of the kernel over the planner's index`(
    chunk: Int?
  ) throws {
    let model = try TemporaryModel().load()
    let backend = model.backend
    let ids = TemporaryModel.ids(700)
    let patterns: [HeadPattern] = [
      .dense, .aShape(sink: 16, local: 64), .verticalSlash(vertical: 40, slash: 60),
      .blockSparse(topK: 2),
    ]
    let rows = SampledRows(tokens: ids.count, chunk: chunk)
    let shape = model.attentionShape(layer: 0)
    var sampler = LayerSampler(rows: rows, shape: shape, backend: backend, pools: true)
    var q: [Float] = []
    var hidden: [Float] = []
    var layer: KeyValueLayer?
    var walk = try LayerWalk(model, ids: ids, rowBlock: 96)
    try walk.advance { _ in }
    try walk.advance(attending: false) { block in
      try sampler.add(block)
      q += try backend.read(block.q)
      hidden += try backend.read(block.hidden)
      layer = block.keysAndValues
    }
    let keysAndValues = try #require(layer)
    let measurer = try LayerMeasurer(
      backend: backend, patterns: patterns, rows: rows, shape: shape,
      columnsThatFillTile: 11)
    let norm = (0..<model.hiddenSize).map { 0.5 + Float($0 % 5) }
    func project(_ outputs: [Float]) throws -> [Float] {
      try model.projectAttentionOutputs(outputs, layer: 1)
    }
    let measured = try measurer.measure(
      sampler, layer: keysAndValues, readout: LayerReadout(norm: norm, project: project))

    let dense = try run(
      .dense, model: model, q: q, layer: keysAndValues, chunks: rows.chunks)
    let width = shape.queryHeads * shape.headDim
    /// norm(g * row) of [n, hidden].
    func lengths(_ states: [Float]) -> [Double] {
      stride(from: 0, to: states.count, by: norm.count).map { start in
        norm.indices.reduce(0.0) {
          let x = Double(states[start + $1] * norm[$1])
          return $0 + x * x
        }.squareRoot()
      }
    }
    let behind = lengths(zip(hidden, try project(dense.o)).map { $0 + $1 })
    for (candidate, pattern) in patterns.enumerated() where pattern != .dense {
      let sparse = try run(
        pattern, model: model, q: q, layer: keysAndValues, chunks: rows.chunks)
      for head in 0..<shape.queryHeads {
        let recalls = rows.positions[rows.counted(for: pattern)].map { position -> Double in
          let place = position * shape.queryHeads + head
          return Double(
            RecallMeter.recall(sparse: sparse.lse[place], dense: dense.lse[place]))
        }
        let mean = recalls.reduce(0, +) / Double(recalls.count)
        #expect(abs(measured[head][candidate].recall - mean) < 1e-4)
        let sorted = recalls.sorted()
        let place = 0.1 * Double(sorted.count - 1)
        #expect(measured[head][candidate].tenthPercentile >= sorted[Int(place)] - 1e-4)
        #expect(measured[head][candidate].tenthPercentile <= sorted[Int(place) + 1] + 1e-4)
        #expect(measured[head][candidate].work.pairs == sparse.pairs[head])

        var (difference, squares) = (0.0, 0.0)
        let places = rows.chunks.flatMap { rows.outputPlaces(in: $0) }
        for position in places.map({ rows.positions[$0] }) {
          for d in 0..<shape.headDim {
            let place = position * width + head * shape.headDim + d
            difference += Double(
              (sparse.o[place] - dense.o[place]) * (sparse.o[place] - dense.o[place]))
            squares += Double(dense.o[place] * dense.o[place])
          }
        }
        let error = try #require(measured[head][candidate].outputError)
        #expect(abs(error - (difference / squares).squareRoot()) < 1e-3)

        // The head alone through the model's own projection.
        let lost = sparse.o.indices.map { place in
          place % width / shape.headDim == head ? sparse.o[place] - dense.o[place] : 0
        }
        let effects = lengths(try project(lost))
        let expected =
          places.reduce(0.0) { $0 + effects[rows.positions[$1]] / behind[rows.positions[$1]] }
          / Double(places.count)
        #expect(abs(measured[head][candidate].residualError - expected) < 2e-3 * expected + 1e-5)
        if pattern == patterns[1] { #expect(expected > 0.01) }
      }
    }
    #expect(measured.allSatisfy { $0[0].recall == 1 && $0[0].tenthPercentile == 1 })
    #expect(measured.allSatisfy { $0[0].outputError == 0 && $0[0].residualError == 0 })
  }

  /// The pattern in every head of the layer, through planner and kernel.
  private func run(
    _ pattern: HeadPattern, model: Transformer, q: [Float], layer: KeyValueLayer,
    chunks: [Range<Int>]
  ) throws -> (o: [Float], lse: [Float], pairs: [Int]) {
    let backend = model.backend
    let shape = model.attentionShape(layer: 0)
    let planner = AttentionPlanner(
      configuration: .uniform(pattern, layers: 1, heads: shape.queryHeads), exact: true)
    let tensor = try backend.makeTensor(
      .float32, [layer.count, shape.queryHeads, shape.headDim], purpose: "test")
    try backend.write(q, to: tensor)
    let o = try backend.makeTensor(.float32, tensor.shape, purpose: "test")
    let lse = try backend.makeTensor(.float32, [layer.count, shape.queryHeads], purpose: "test")
    var pairs = [Int](repeating: 0, count: shape.queryHeads)
    for chunk in chunks {
      let part = tensor.slice(rows: chunk)
      let (index, report) = try planner.makeIndex(
        layer: 0,
        ChunkInputs(
          shape: shape,
          layer: KeyValueLayer(keys: layer.keys, values: layer.values, count: chunk.upperBound),
          firstPosition: chunk.lowerBound, rows: chunk.count,
          lastRows: tensor.slice(
            rows: max(chunk.lowerBound, chunk.upperBound - 64)..<chunk.upperBound),
          estimates: .host(
            HostQueryEstimates(
              pooledQueries: try BlockSparse.pooledQueries(
                part, firstPosition: chunk.lowerBound, backend: backend)))),
        backend: backend, memory: SelectionMemory())
      try backend.attention(
        q: part, firstPosition: chunk.lowerBound, layer: layer, shape: shape, index: index,
        into: o.slice(rows: chunk), logSumExp: lse.slice(rows: chunk))
      for head in pairs.indices { pairs[head] += report.computedPairs[head] }
    }
    return (try backend.read(o), try backend.read(lse), pairs)
  }
}
