import Compute

/// The pairs one head asks for, or why it is dense.
public struct HeadSelection: Sendable, Hashable {
  public var pairs: PairSelection
  /// Why the head is dense although its pattern is not.
  public var denseReason: DenseReason?

  init(_ pairs: PairSelection, denseReason: DenseReason? = nil) {
    self.pairs = pairs
    self.denseReason = denseReason
  }
}

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
    var estimation = Duration.zero
    let clock = ContinuousClock()
    let start = clock.now
    let sums = try lastRowSums(
      ofHeads: patterns.indices.filter { needsSums(patterns[$0], layer, $0, inputs) }, inputs)
    estimation += clock.now - start
    var pooledKeys: [[Float]] = []
    if patterns.contains(where: { needsBlocks($0, inputs) }) {
      let start = clock.now
      pooledKeys = try inputs.backend.readRows(
        inputs.backend.meanPooledKeys(
          inputs.keyValueLayer, count: inputs.keys, blockSize: BlockSparse.blockSize))
      estimation += clock.now - start
    }
    let selections = try patterns.enumerated().map { head, pattern in
      try select(
        pattern, layer: layer, head: head, inputs: inputs, sums: sums[head], pooledKeys: pooledKeys)
    }
    return (selections, estimation)
  }

  /// Sums of the chunk's last rows for these heads, by head; nothing is computed for none.
  func lastRowSums(ofHeads heads: [Int], _ inputs: ChunkInputs) throws -> [Int: LastRowSums] {
    guard !heads.isEmpty else { return [:] }
    let sums = try inputs.backend.lastRowSums(
      q: inputs.lastRows, firstPosition: inputs.keys - inputs.lastRows.rows,
      layer: inputs.keyValueLayer, shape: inputs.shape, heads: heads)
    return Dictionary(uniqueKeysWithValues: zip(heads, try inputs.backend.read(sums)))
  }

  func select(
    _ pattern: HeadPattern, layer: Int, head: Int, inputs: ChunkInputs, sums: LastRowSums?,
    pooledKeys: [[Float]]
  ) throws -> HeadSelection {
    let keys = inputs.keys
    switch pattern {
    case .dense:
      return HeadSelection(Dense.selection())
    case .aShape(let sink, let local):
      return HeadSelection(AShape.selection(sink: sink, local: local, keys: keys))
    case .triShape(let sink, let local, let last):
      return HeadSelection(TriShape.selection(sink: sink, local: local, last: last, keys: keys))
    case .verticalSlash(let vertical, let slash):
      guard let sums else {
        return HeadSelection(.all, denseReason: .budgetTakesEverything)
      }
      return HeadSelection(
        .bands(VerticalSlash.selection(sums, vertical: vertical, slash: slash)))
    case .staticVerticalSlash(let vertical, let slash):
      guard
        let selection = StaticVerticalSlash.selection(
          sums, vertical: vertical, slash: slash, layer: layer, head: head, memory: inputs.memory)
      else {
        return HeadSelection(.all, denseReason: .budgetTakesEverything)
      }
      return HeadSelection(.bands(selection))
    case .blockSparse(let topK):
      guard needsBlocks(pattern, inputs) else {
        return HeadSelection(.all, denseReason: .budgetTakesEverything)
      }
      let queries = try pooledQueries(ofHead: head, inputs)
      return HeadSelection(
        .blocks(
          BlockSparse.selection(
            queries: queries, keys: pooledKeys[head / inputs.shape.groupSize],
            headDim: inputs.shape.headDim, firstPosition: inputs.firstPosition, topK: topK)))
    case .dilated(let sink, let window, let stride):
      return HeadSelection(
        Dilated.selection(sink: sink, window: window, stride: stride, keys: keys))
    case .strided(let sink, let local, let window, let stride):
      return HeadSelection(
        Strided.selection(sink: sink, local: local, window: window, stride: stride, keys: keys))
    }
  }

  func needsSums(
    _ pattern: HeadPattern, _ layer: Int, _ head: Int, _ inputs: ChunkInputs
  ) -> Bool {
    switch pattern {
    case .verticalSlash(let vertical, let slash):
      !VerticalSlash.takesEverything(vertical: vertical, slash: slash, keys: inputs.keys)
    case .staticVerticalSlash(let vertical, let slash):
      inputs.memory[layer, head] == nil
        && !VerticalSlash.takesEverything(
          vertical: vertical, slash: slash, keys: inputs.keys, rule: .kept)
    case .dense, .aShape, .triShape, .blockSparse, .dilated, .strided: false
    }
  }

  /// Whether a head's blocks have to be chosen; else its budget takes all of them.
  func needsBlocks(_ pattern: HeadPattern, _ inputs: ChunkInputs) -> Bool {
    if case .blockSparse(let topK) = pattern {
      topK < (inputs.keys + BlockSparse.blockSize - 1) / BlockSparse.blockSize
    } else {
      false
    }
  }

  private func pooledQueries(ofHead head: Int, _ inputs: ChunkInputs) throws -> [Float] {
    let first = inputs.firstPosition / BlockSparse.blockSize
    let blocks = (inputs.keys + BlockSparse.blockSize - 1) / BlockSparse.blockSize - first
    guard let pooled = inputs.pooledQueries, pooled.indices.contains(head),
      pooled[head].count == blocks * inputs.shape.headDim
    else {
      throw ComputeError.shapeMismatch(
        operation: "AttentionPlanner",
        detail: "head \(head) is block-sparse and needs the means of \(blocks) query blocks")
    }
    return pooled[head]
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
