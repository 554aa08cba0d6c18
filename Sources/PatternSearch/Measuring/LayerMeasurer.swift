package import Compute
package import SparseAttention
import Transformers

/// Measures every candidate on every head of a layer from the queries of sampled rows.
package struct LayerMeasurer {
  let backend: any Backend
  let patterns: [HeadPattern]
  let rows: SampledRows
  /// Chosen for the chunks of ``rows``.
  let selectors: [CandidateSelector]
  let costs: CostModel
  /// The recall around which candidates are finalists, whose output error is measured.
  let floor: RecallFloor
  /// Whether heads may keep more or less than the floor, as pays for all of them together.
  let choosesOnHull: Bool
  private let finalistCount: Int
  private static let finalistRounds = 8

  package init(
    backend: any Backend, patterns: [HeadPattern], rows: SampledRows, shape: AttentionShape,
    costs: CostModel, floor: RecallFloor, columnsThatFillTile: Int, denseBelow: Int = 0,
    choosesOnHull: Bool = false, finalists: Int = 3
  ) {
    self.backend = backend
    self.patterns = patterns
    self.rows = rows
    self.costs = costs
    self.floor = floor
    self.choosesOnHull = choosesOnHull
    finalistCount = finalists
    let tile = backend.tileShape(headDim: shape.headDim)
    selectors = rows.chunks.map { chunk in
      CandidateSelector(
        patterns: patterns,
        grid: TileGrid(
          firstPosition: chunk.lowerBound, rows: chunk.count, tile: tile,
          slidingWindow: shape.slidingWindow),
        headDim: shape.headDim, columnsThatFillTile: columnsThatFillTile,
        denseBelow: denseBelow)
    }
  }

  /// [head][candidate].
  ///
  /// - Parameter earlier: the same of an earlier sample; what was a good choice there is measured here
  ///   too.
  package func measure(
    _ sampler: LayerSampler, layer: KeyValueLayer, earlier: [[CandidateMeasurement]]? = nil,
    isCancelled: () -> Bool = { false }
  ) throws -> [[CandidateMeasurement]] {
    let shape = sampler.shape
    let sums = try rows.chunks.indices.map {
      try sampler.lastRowSums(
        ofChunk: $0,
        layer: KeyValueLayer(
          keys: layer.keys, values: layer.values, count: rows.chunks[$0].upperBound))
    }
    let pools = patterns.contains(where: \.needsPooledQueries)
    let pooledKeys =
      pools
      ? try backend.meanPooledKeys(
        layer, count: layer.count, blockSize: BlockSparse.blockSize) : []
    var outputError: (keyValueHead: Int, error: OutputError)?
    return try (0..<shape.queryHeads).map { head in
      if isCancelled() { throw CancellationError() }
      let keyValueHead = head / shape.groupSize
      let mass = try rowMass(sampler, head: head, layer: layer)
      let estimates = rows.chunks.indices.map { chunk in
        let blocks =
          (rows.chunks[chunk].upperBound + BlockSparse.blockSize - 1) / BlockSparse.blockSize
        return HeadEstimates(
          sums: sums[chunk][head], queries: pools ? sampler.pooled[chunk][head] : [],
          keys: pools ? Array(pooledKeys[keyValueHead].prefix(blocks * shape.headDim)) : [])
      }
      var measured = HostThreads.map(patterns.count) { measure(patterns[$0], mass, estimates) }
      func measureErrors(_ candidates: [Int]) throws {
        guard !candidates.isEmpty else { return }
        if outputError?.keyValueHead != keyValueHead {
          let values = layer.values.reshaped([
            shape.keyValueHeads * layer.capacity, shape.headDim,
          ])
          let start = keyValueHead * layer.capacity
          outputError = (
            keyValueHead,
            try OutputError(
              backend: backend,
              values: backend.read(values.slice(rows: start..<start + rows.tokens)),
              keys: rows.tokens, headDim: shape.headDim)
          )
        }
        if let error = outputError?.error {
          try measureOutputErrors(&measured, candidates, mass, estimates, error)
        }
      }
      try measureErrors(earlier.map { finalists(ofEarlier: $0[head]) } ?? [])
      // Candidates above the cap make room for others.
      for _ in 0..<Self.finalistRounds {
        let unmeasured = finalists(of: measured).filter { measured[$0].outputError == nil }
        if unmeasured.isEmpty { break }
        try measureErrors(unmeasured)
      }
      return measured
    }
  }

  /// What one head's candidates are selected by in one chunk.
  private struct HeadEstimates {
    var sums: LastRowSums
    var queries: [Float]
    var keys: [Float]
  }

  private func rowMass(
    _ sampler: LayerSampler, head: Int, layer: KeyValueLayer
  ) throws -> RowMass {
    let shape = sampler.shape
    let start = head / shape.groupSize * layer.capacity
    let keys = layer.keys.reshaped([shape.keyValueHeads * layer.capacity, shape.headDim])
      .slice(rows: start..<start + rows.tokens)
    // Scores come in units of log 2.
    let factor = shape.scale * 1.442_695_04
    return try RowMass(
      positions: rows.positions, keys: rows.tokens, slidingWindow: shape.slidingWindow
    ) { places in
      let q = try backend.makeTensor(
        backend.activationType, [places.count, shape.headDim], purpose: "measuring recall")
      try backend.write(
        sampler.queries(ofHead: head, places: places, factor: factor), to: q)
      let scores = try backend.makeTensor(
        .float32, [places.count, rows.tokens], purpose: "measuring recall")
      try backend.linear(q, weight: keys, bias: nil, into: scores, accumulate: false)
      return try backend.read(scores)
    }
  }

  private func measure(
    _ pattern: HeadPattern, _ mass: RowMass, _ estimates: [HeadEstimates]
  ) -> CandidateMeasurement {
    let counted = rows.counted(for: pattern)
    var recalls: [Double] = []
    var work = IndexWork(tilePairs: 0, columnPairs: 0, runs: 0, tileRows: 0)
    for (chunk, selector) in selectors.enumerated() {
      let rowSet = rowSet(pattern, chunk: chunk, estimates)
      work += IndexWork(rowSet, on: selector.grid)
      let places = rows.places(in: rows.chunks[chunk]).clamped(to: counted)
      recalls += mass.kept(rowSet, on: selector.grid, places: places)
    }
    return CandidateMeasurement(rows: recalls, work: work)
  }

  private func rowSet(
    _ pattern: HeadPattern, chunk: Int, _ estimates: [HeadEstimates]
  ) -> RowSet {
    selectors[chunk].rowSet(
      pattern, sums: estimates[chunk].sums, pooledQueries: estimates[chunk].queries,
      pooledKeys: estimates[chunk].keys)
  }

  /// The candidates that may well be chosen: with a floor for every head the cheapest that keep it,
  /// otherwise those of which no other gives more recall for the time. Dense is none.
  private func finalists(of measured: [CandidateMeasurement]) -> [Int] {
    let head = HeadOptions(
      zip(measured, patterns).map {
        HeadOption(
          seconds: costs.seconds($0.work, pattern: $1, chunks: rows.chunks), recall: $0.recall,
          tenthPercentile: $0.tenthPercentile)
      })
    let allowed = head.options.indices.filter {
      patterns[$0] != .dense && floor.keepsRecall(head.options[$0])
        && head.options[$0].seconds < head.options[0].seconds
        && measured[$0].outputError.map { $0 <= floor.outputError } ?? true
    }
    let efficient =
      choosesOnHull
      ? MeanRecallSolver.hull(head, allowed)
      : allowed.sorted { head.options[$0].seconds < head.options[$1].seconds }
    return Array(efficient.prefix(finalistCount))
  }

  /// The candidates of an earlier sample whose error was measured and is not above the cap.
  private func finalists(ofEarlier measured: [CandidateMeasurement]) -> [Int] {
    measured.indices.filter {
      patterns[$0] != .dense
        && measured[$0].outputError.map { $0 <= floor.outputError } ?? false
    }
  }

  private func measureOutputErrors(
    _ measured: inout [CandidateMeasurement], _ candidates: [Int], _ mass: RowMass,
    _ estimates: [HeadEstimates], _ error: OutputError
  ) throws {
    func outputs(_ pattern: HeadPattern, _ chunk: Int, _ places: [Int]) throws -> [Float] {
      let grid = selectors[chunk].grid
      let rowSet = rowSet(pattern, chunk: chunk, estimates)
      return try error.outputs(
        mass, rowSet, on: grid, places: places,
        kept: mass.kept(rowSet, on: grid, places: places))
    }
    var squares = candidates.map { _ in (difference: 0.0, dense: 0.0) }
    for chunk in rows.chunks.indices {
      let places = rows.outputPlaces(in: rows.chunks[chunk])
      guard !places.isEmpty else { continue }
      let dense = try outputs(.dense, chunk, places)
      for (slot, candidate) in candidates.enumerated() {
        let sparse = try outputs(patterns[candidate], chunk, places)
        let more = OutputError.squares(sparse, dense)
        squares[slot].difference += more.difference
        squares[slot].dense += more.dense
      }
    }
    for (slot, candidate) in candidates.enumerated() where squares[slot].dense > 0 {
      measured[candidate].outputError =
        (squares[slot].difference / squares[slot].dense).squareRoot()
    }
  }
}

extension IndexWork {
  static func += (left: inout IndexWork, right: IndexWork) {
    left.tilePairs += right.tilePairs
    left.columnPairs += right.columnPairs
    left.runs += right.runs
    left.tileRows += right.tileRows
  }
}
