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

  package init(
    backend: any Backend, patterns: [HeadPattern], rows: SampledRows, shape: AttentionShape,
    columnsThatFillTile: Int, denseBelow: Int = 0
  ) throws {
    self.backend = backend
    self.patterns = patterns
    self.rows = rows
    let tile = backend.tileShape(headDim: shape.headDim)
    selectors = try rows.chunks.map { chunk in
      try CandidateSelector(
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
  /// - Parameter readout: how the layer reads its hidden states behind attention.
  package func measure(
    _ sampler: LayerSampler, layer: KeyValueLayer, readout: LayerReadout,
    isCancelled: () -> Bool = { false }
  ) throws -> [[CandidateMeasurement]] {
    let shape = sampler.shape
    let sums = try rows.chunks.indices.map {
      try sampler.lastRowSums(
        ofChunk: $0,
        layer: KeyValueLayer(
          keys: layer.keys, values: layer.values, count: rows.chunks[$0].upperBound,
          sinks: layer.sinks))
    }
    let sinks = try layer.sinks.map { try backend.read($0) }
    let pools = patterns.contains(where: \.needsPooledQueries)
    let pooledKeys =
      pools
      ? try backend.readRows(
        backend.meanPooledKeys(
          layer, count: layer.count, blockSize: BlockSparse.blockSize)) : []
    let places = rows.outputPlaces(in: 0..<rows.tokens)
    let grams = try readout.grams(shape: shape, backend: backend)
    var residual = ResidualErrors(rows: places.count, shape: shape)
    var values: [Float] = []
    let heads = try (0..<shape.queryHeads).map { head in
      if isCancelled() { throw CancellationError() }
      let keyValueHead = head / shape.groupSize
      if head % shape.groupSize == 0 {
        let start = keyValueHead * layer.capacity
        values = try backend.read(
          layer.values.reshaped([shape.keyValueHeads * layer.capacity, shape.headDim])
            .slice(rows: start..<start + rows.tokens))
      }
      let mass = try rowMass(sampler, head: head, layer: layer, sink: sinks?[head])
      let outputs = OutputSums(
        mass, places: places, values: values, headDim: shape.headDim,
        tileColumns: backend.tileShape(headDim: shape.headDim).columns)
      let estimates = rows.chunks.indices.map { chunk in
        let blocks =
          (rows.chunks[chunk].upperBound + BlockSparse.blockSize - 1) / BlockSparse.blockSize
        return HeadEstimates(
          sums: sums[chunk][head], queries: pools ? sampler.pooled[chunk][head] : [],
          keys: pools ? Array(pooledKeys[keyValueHead].prefix(blocks * shape.headDim)) : [])
      }
      let errors = OutputError(sums: outputs, gram: grams[head])
      let measured = try HostThreads.map(patterns.count) { candidate in
        Result {
          try measure(patterns[candidate], mass, estimates, errors, hasSink: sinks != nil)
        }
      }.map { try $0.get() }
      residual.add(head: head, dense: errors.dense, squares: measured.map(\.residualSquares))
      return measured.map(\.measurement)
    }
    let errors = try residual.errors(hidden: sampler.hidden, readout)
    return zip(heads, errors).map { measured, errors in
      zip(measured, errors).map { measurement, error in
        var measurement = measurement
        measurement.residualError = error
        return measurement
      }
    }
  }

  /// What one head's candidates are selected by in one chunk.
  private struct HeadEstimates {
    var sums: LastRowSums
    var queries: [Float]
    var keys: [Float]
  }

  private func rowMass(
    _ sampler: LayerSampler, head: Int, layer: KeyValueLayer, sink: Float?
  ) throws -> RowMass {
    let shape = sampler.shape
    let start = head / shape.groupSize * layer.capacity
    let keys = layer.keys.reshaped([shape.keyValueHeads * layer.capacity, shape.headDim])
      .slice(rows: start..<start + rows.tokens)
    // Scores come in units of log 2.
    let factor = shape.scale * 1.442_695_04
    return try RowMass(
      positions: rows.positions, keys: rows.tokens, slidingWindow: shape.slidingWindow,
      sink: sink.map { $0 * 1.442_695_04 }
    ) { places in
      let q = try backend.makeTensor(
        backend.activationType, [places.count, shape.headDim], purpose: "measuring recall")
      try backend.write(
        sampler.queries(ofHead: head, places: places, factor: factor), to: q)
      let scores = try backend.makeTensor(
        .float32, [places.count, rows.tokens], purpose: "measuring recall")
      try backend.linear(q, weight: Weight(keys), bias: nil, into: scores, accumulate: false)
      return try backend.read(scores)
    }
  }

  private func measure(
    _ pattern: HeadPattern, _ mass: RowMass, _ estimates: [HeadEstimates], _ errors: OutputError,
    hasSink: Bool
  ) throws -> (measurement: CandidateMeasurement, residualSquares: [Float]) {
    let counted = rows.counted(for: pattern)
    var recalls: [Double] = []
    var work = IndexWork(tilePairs: 0, columnPairs: 0, runs: 0, tileRows: 0)
    var squares = OutputError.Squares(rows: errors.rows)
    for (chunk, selector) in selectors.enumerated() {
      let rowSet = try rowSet(pattern, chunk: chunk, estimates, hasSink: hasSink)
      work += IndexWork(rowSet, on: selector.grid)
      let places = rows.places(in: rows.chunks[chunk]).clamped(to: counted)
      let columns = rowSet.columns
      recalls += mass.kept(rowSet, on: selector.grid, places: places) {
        place, runs, single, kept in
        guard SampledRows.countsForOutput(place) else { return }
        errors.add(
          mass, row: SampledRows.outputRow(ofPlace: place), runs: runs, columns: columns,
          single: single, kept: kept, to: &squares)
      }
    }
    var measurement = CandidateMeasurement(rows: recalls, work: work)
    measurement.outputError = errors.relative(squares)
    return (measurement, squares.residual)
  }

  private func rowSet(
    _ pattern: HeadPattern, chunk: Int, _ estimates: [HeadEstimates], hasSink: Bool
  ) throws -> RowSet {
    try selectors[chunk].rowSet(
      pattern, sums: estimates[chunk].sums, pooledQueries: estimates[chunk].queries,
      pooledKeys: estimates[chunk].keys, hasSink: hasSink)
  }
}

extension RowSet {
  fileprivate var columns: [Int32] {
    if case .tiles(let tiles) = self { tiles.columns } else { [] }
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
