import Compute

/// First half of planning: from patterns and estimates to the pairs of every head.
extension AttentionPlanner {
  /// What every head of the layer asks for in this chunk, and the time its estimation took.
  ///
  /// Estimates are made once for all heads of the layer that need them.
  public func select(
    layer: Int, _ inputs: ChunkInputs
  ) throws -> (selections: [HeadSelection], estimation: Duration) {
    try check(layer: layer, inputs)
    let patterns = configuration.patterns[layer]
    if let reason = wholeChunkReason(keys: inputs.keys, rows: inputs.rows) {
      let selections = patterns.map {
        HeadSelection(.all, denseReason: $0 == .dense ? nil : reason)
      }
      return (selections, .zero)
    }
    let needs = patterns.indices.map { self.needs(layer: layer, head: $0, inputs) }
    var estimation = Duration.zero
    let clock = ContinuousClock()
    let start = clock.now
    let sums = try lastRowSums(ofHeads: needs.indices.filter { needs[$0].lastRows }, inputs)
    var pooledKeys: [[Float]] = []
    if needs.contains(where: \.pooledMeans) {
      pooledKeys = try inputs.backend.readRows(
        inputs.backend.meanPooledKeys(
          inputs.keyValueLayer, count: inputs.keys, blockSize: BlockSparse.blockSize))
    }
    estimation += clock.now - start
    let selections = try patterns.enumerated().map { head, pattern in
      var sketch = sketch(layer: layer, head: head, inputs)
      sketch.lastRowSums = sums[head]
      if needs[head].pooledMeans {
        sketch.pooledKeys = pooledKeys[head / inputs.shape.groupSize]
      }
      return try pattern.selector.select(sketch)
    }
    return (selections, estimation)
  }

  /// What a head looks at in this chunk.
  func needs(layer: Int, head: Int, _ inputs: ChunkInputs) -> SketchNeeds {
    configuration.patterns[layer][head].selector.needs(
      keys: inputs.keys, isKept: inputs.memory[layer, head] != nil)
  }

  /// What is known of a head before anything is estimated here.
  func sketch(layer: Int, head: Int, _ inputs: ChunkInputs) -> HeadSketch {
    var sketch = HeadSketch(
      layer: layer, head: head, firstPosition: inputs.firstPosition, rows: inputs.rows,
      headDim: inputs.shape.headDim,
      pooledQueries: inputs.pooledQueries.flatMap {
        $0.indices.contains(head) ? $0[head] : nil
      }, blockShares: inputs.blockShares[head], memory: inputs.memory)
    sketch.hasSink = inputs.keyValueLayer.sinks != nil
    return sketch
  }

  /// Sums of the chunk's last rows for these heads, by head; nothing is computed for none.
  func lastRowSums(ofHeads heads: [Int], _ inputs: ChunkInputs) throws -> [Int: LastRowSums] {
    guard !heads.isEmpty else { return [:] }
    let sums = try inputs.backend.lastRowSums(
      q: inputs.lastRows, firstPosition: inputs.keys - inputs.lastRows.rows,
      layer: inputs.keyValueLayer, shape: inputs.shape, heads: heads)
    return Dictionary(uniqueKeysWithValues: zip(heads, try inputs.backend.read(sums)))
  }

  func check(layer: Int, _ inputs: ChunkInputs) throws {
    let shape = inputs.shape
    let last = min(VerticalSlashRule.lastRows, inputs.rows)
    guard inputs.rows > 0, inputs.firstPosition >= 0, inputs.keyValueLayer.count >= inputs.keys,
      configuration.patterns.indices.contains(layer),
      configuration.patterns[layer].count == shape.queryHeads,
      inputs.lastRows.shape == [last, shape.queryHeads, shape.headDim]
    else {
      throw ComputeError.shapeMismatch(
        operation: "AttentionPlanner",
        detail: "layer \(layer) of \(configuration.layers) x \(configuration.heads) heads, "
          + "\(inputs.rows) rows from \(inputs.firstPosition), \(inputs.keyValueLayer.count) keys, "
          + "last rows \(inputs.lastRows.shape) for \(shape.queryHeads) heads of \(shape.headDim)")
    }
  }
}
