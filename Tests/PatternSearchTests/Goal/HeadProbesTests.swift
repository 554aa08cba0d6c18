import Compute
import SparseAttention
import Testing
import Transformers

import PatternSearch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct HeadProbesTests {
  private let tokens = 300

  private func planner(_ pattern: HeadPattern) -> AttentionPlanner {
    AttentionPlanner(
      configuration: .uniform(pattern, layers: 3, heads: 4), exact: true,
      costModel: SparseCostModel(denseBelow: 0))
  }

  @Test func `rows are probed along the text and at its end, each once`() {
    let rows = ProbedRows(tokens: 1000)
    #expect(rows.ranges.last == 968..<1000 && rows.ranges.count == 5)
    #expect(rows.count == 64 && rows.countOfRuns == 32)
    let short = ProbedRows(tokens: 40)
    #expect(short.ranges.flatMap { Array($0) } == Set(short.ranges.flatMap { Array($0) }).sorted())
    #expect(short.ranges.last == 8..<40)
    #expect(ProbedRows(tokens: 5).ranges == [0..<5])
  }

  @Test func `errors of heads are those of attention written out, in double precision`() throws {
    let model = try TemporaryModel().load()
    let ids = TemporaryModel.ids(tokens)
    let (sink, local) = (2, 9)
    let sample = GoalSample(
      name: "a", kind: .text, length: tokens, ids: ids, positions: [5, tokens - 1])
    let reader = SampleReader(
      model: model, keyValues: KeyValueOptions(), chunk: nil, progress: { _, _, _ in },
      isCancelled: { false })
    let found = try reader.readDensely(
      sample,
      probing: [
        planner(.aShape(sink: sink, local: local)), planner(.aShape(sink: 1, local: 500)),
      ])
    // The walk reads as a prefill does.
    let states = try model.sampledStates(of: ids, at: sample.positions)
    let sums = AgreementSums(
      try model.agreement(of: found.reading.states, with: states, ids: ids))
    #expect(sums.meanDivergence < 1e-9)

    let tile = model.backend.tileShape(headDim: 16)
    let expected = try naiveErrors(model, ids) { row, key in
      // The index is rounded out to tiles.
      return key < sink || row - key < local
        || isInTile(row: row, key: key, tile: tile, local: local)
    }
    for layer in 0..<3 {
      for head in 0..<4 {
        let error = found.probes.errors[layer][head]
        #expect(abs(error[0] - expected[layer][head]) < 1e-3 * expected[layer][head] + 1e-9)
        #expect(expected[layer][head] > 1e-6)
        // Nothing is left out: only rounding is lost.
        #expect(error[1] < 1e-9)
        #expect(found.probes.densities[layer][head][1] == 1)
        #expect(found.probes.densities[layer][head][0] < 1)
      }
    }
    #expect(found.probes.selectionSeconds.count == 2)
  }

  /// Whether a key tile that a tile of rows computes for the window holds the pair.
  private func isInTile(row: Int, key: Int, tile: TileShape, local: Int) -> Bool {
    let first = row / tile.rows * tile.rows
    let last = min(first + tile.rows, tokens) - 1
    let keyTile = key / tile.columns
    return (first...last).contains { row in
      let from = max(0, row - local + 1) / tile.columns
      return (from...row / tile.columns).contains(keyTile)
    }
  }

  /// [layer][head]: the definition, with `keeps` for the pairs that are computed.
  private func naiveErrors(
    _ model: Transformer, _ ids: [Int32], keeps: (Int, Int) -> Bool
  ) throws -> [[Double]] {
    var walk = try LayerWalk(model, ids: ids)
    let rows = ProbedRows(tokens: ids.count)
    let places = rows.ranges.flatMap { Array($0) }
    return try (0..<3).map { layer in
      var q: [Float] = []
      var hidden: [Float] = []
      var keys: [Float] = []
      var values: [Float] = []
      var capacity = 0
      try walk.advance { block in
        q += try model.backend.read(block.q)
        hidden += try model.backend.read(block.hidden)
        keys = try model.backend.read(block.keysAndValues.keys)
        values = try model.backend.read(block.keysAndValues.values)
        capacity = block.keysAndValues.capacity
      }
      let shape = model.attentionShape(layer: layer)
      let dim = shape.headDim
      let width = shape.queryHeads * dim
      func output(_ row: Int, _ head: Int, _ keeps: (Int, Int) -> Bool) -> [Float] {
        let start = head / shape.groupSize * capacity
        let scores = (0...row).map { key -> Double in
          guard keeps(row, key) else { return -.infinity }
          return (0..<dim).reduce(0.0) {
            $0 + Double(q[row * width + head * dim + $1])
              * Double(keys[(start + key) * dim + $1])
          } * Double(shape.scale)
        }
        let largest = scores.max() ?? 0
        let weights = scores.map { exp($0 - largest) }
        let sum = weights.reduce(0, +)
        return (0..<dim).map { d in
          Float(
            weights.enumerated().reduce(0.0) {
              $0 + $1.element * Double(values[(start + $1.offset) * dim + d])
            } / sum)
        }
      }
      let norm = try model.feedForwardNorm(layer: layer)
      func square(_ x: ArraySlice<Float>) -> Double {
        zip(x, norm).reduce(0) { $0 + Double($1.0 * $1.1) * Double($1.0 * $1.1) }
      }
      var errors = [Double](repeating: 0, count: shape.queryHeads)
      for (place, row) in places.enumerated() {
        let dense = (0..<shape.queryHeads).map { output(row, $0) { _, _ in true } }
        let lost = (0..<shape.queryHeads).map { head in
          zip(output(row, head, keeps), dense[head]).map { $0 - $1 }
        }
        let behind = zip(
          hidden[row * model.hiddenSize..<(row + 1) * model.hiddenSize],
          try model.projectAttentionOutputs(dense.flatMap { $0 }, layer: layer)
        ).map { $0 + $1 }
        let change = square(
          try model.projectAttentionOutputs(lost.flatMap { $0 }, layer: layer)[...])
        let squares = lost.map { $0.reduce(0.0) { $0 + Double($1) * Double($1) } }
        let all = squares.reduce(0, +)
        guard all > 0 else { continue }
        let group =
          place < rows.countOfRuns ? rows.countOfRuns : rows.count - rows.countOfRuns
        for head in errors.indices {
          errors[head] += change / square(behind[...]) * squares[head] / all / Double(group)
        }
      }
      return errors
    }
  }
}
