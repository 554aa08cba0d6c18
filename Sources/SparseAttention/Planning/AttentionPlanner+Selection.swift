public import Compute

/// First half of planning: from patterns and estimates to the pairs of every head.
extension AttentionPlanner {
  /// What every head of the layer asks for in this chunk, and the time its estimation took.
  ///
  /// Estimates are made once for all heads of the layer that need them.
  ///
  /// - Parameter memory: The sequence's memory for static patterns.
  public func select(
    layer: Int, _ chunk: ChunkInputs, backend: any Backend, memory: SelectionMemory
  ) throws -> (selections: [HeadSelection], estimation: Duration) {
    try check(layer: layer, chunk)
    let patterns = configuration.patterns[layer]
    if let reason = wholeChunkReason(keys: chunk.keys, rows: chunk.rows) {
      let selections = patterns.map {
        HeadSelection(.all, denseReason: $0 == .dense ? nil : reason)
      }
      return (selections, .zero)
    }
    let needs = patterns.indices.map { self.needs(layer: layer, head: $0, chunk, memory) }
    var estimation = Duration.zero
    let clock = ContinuousClock()
    let start = clock.now
    let sums = try lastRowSums(
      ofHeads: needs.indices.filter { needs[$0].lastRows }, chunk, backend: backend)
    var pooledKeys: [[Float]] = []
    if needs.contains(where: \.pooledMeans) {
      pooledKeys = try backend.readRows(
        backend.meanPooledKeys(
          chunk.layer, count: chunk.keys, blockSize: BlockSparse.blockSize))
    }
    estimation += clock.now - start
    let selections = try patterns.enumerated().map { head, pattern in
      var sketch = sketch(layer: layer, head: head, chunk, memory)
      sketch.lastRowSums = sums[head]
      if needs[head].pooledMeans {
        sketch.pooledKeys = pooledKeys[head / chunk.shape.groupSize]
      }
      return try pattern.selector.select(sketch)
    }
    return (selections, estimation)
  }

  /// What a head looks at in this chunk.
  func needs(
    layer: Int, head: Int, _ chunk: ChunkInputs, _ memory: SelectionMemory
  ) -> SketchNeeds {
    configuration.patterns[layer][head].selector.needs(
      keys: chunk.keys, isKept: memory[layer, head] != nil)
  }

  /// What is known of a head before anything is estimated here.
  func sketch(
    layer: Int, head: Int, _ chunk: ChunkInputs, _ memory: SelectionMemory
  ) -> HeadSketch {
    let estimates = chunk.hostEstimates
    var sketch = HeadSketch(
      layer: layer, head: head, firstPosition: chunk.firstPosition, rows: chunk.rows,
      headDim: chunk.shape.headDim,
      pooledQueries: estimates.pooledQueries.flatMap {
        $0.indices.contains(head) ? $0[head] : nil
      }, blockShares: estimates.blockShares[head], memory: memory)
    sketch.hasSink = chunk.layer.sinks != nil
    return sketch
  }

  /// Sums of the chunk's last rows for these heads, by head; nothing is computed for none.
  func lastRowSums(
    ofHeads heads: [Int], _ chunk: ChunkInputs, backend: any Backend
  ) throws -> [Int: LastRowSums] {
    guard !heads.isEmpty else { return [:] }
    let sums = try backend.lastRowSums(
      q: chunk.lastRows, firstPosition: chunk.keys - chunk.lastRows.rows,
      layer: chunk.layer, shape: chunk.shape, heads: heads)
    return Dictionary(uniqueKeysWithValues: zip(heads, try backend.read(sums)))
  }

  func check(layer: Int, _ chunk: ChunkInputs) throws {
    let shape = chunk.shape
    let last = min(VerticalSlashRule.lastRows, chunk.rows)
    guard chunk.rows > 0, chunk.firstPosition >= 0, chunk.layer.count >= chunk.keys,
      configuration.patterns.indices.contains(layer),
      configuration.patterns[layer].count == shape.queryHeads,
      chunk.lastRows.shape == [last, shape.queryHeads, shape.headDim]
    else {
      throw ComputeError.shapeMismatch(
        operation: "AttentionPlanner",
        detail: "layer \(layer) of \(configuration.layers) x \(configuration.heads) heads, "
          + "\(chunk.rows) rows from \(chunk.firstPosition), \(chunk.layer.count) keys, "
          + "last rows \(chunk.lastRows.shape) for \(shape.queryHeads) heads of \(shape.headDim)")
    }
  }
}
