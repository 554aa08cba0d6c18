import Compute

/// Planning on backends that build indices themselves: every head's request goes to the device in one
/// request, and two numbers a head come back.
extension AttentionPlanner {
  /// The index of one (layer, chunk), built by the backend; nil if it is made here: parts of an index
  /// are, and that of block-sparse heads whose queries were not pooled on the device.
  func makeResidentIndex(
    layer: Int, _ inputs: ChunkInputs
  ) throws -> (index: SparseIndex, report: IndexReport)? {
    let backend = inputs.backend
    guard backend.capabilities.buildsIndices, !inputs.needsHostIndex,
      wholeChunkReason(keys: inputs.keys, rows: inputs.rows) == nil
    else { return nil }
    try check(layer: layer, inputs)
    let patterns = configuration.patterns[layer]
    guard
      inputs.residentPooledQueries != nil || !patterns.contains(where: { needsBlocks($0, inputs) })
    else { return nil }
    let watch = inputs.backend.makeStopwatch()
    let plans = try watch.time {
      // A static head is estimated once, on the host; its selection stays there.
      let unselected = patterns.indices.filter {
        if case .staticVerticalSlash = patterns[$0] {
          needsSums(patterns[$0], layer, $0, inputs)
        } else {
          false
        }
      }
      let sums = try lastRowSums(ofHeads: unselected, inputs)
      return try patterns.enumerated().map { head, pattern in
        try plan(pattern, layer: layer, head: head, sums: sums[head], inputs)
      }
    }
    guard plans.contains(where: { $0.request != .dense }) else { return nil }
    let rule = VerticalSlashRule.estimated
    var request = IndexRequest(
      heads: plans.map(\.request), firstPosition: inputs.firstPosition, rows: inputs.rows,
      lastRows: inputs.lastRows, pooledQueries: inputs.residentPooledQueries,
      layer: inputs.keyValueLayer, shape: inputs.shape,
      forcedColumns: rule.forcedColumns, forcedOffsets: rule.forcedOffsets,
      columnCost: costModel.columnPair, tileCost: costModel.tilePair, runCost: costModel.run,
      exact: exact)
    request.freeBands = freeBands
    let index = try watch.time { try backend.makeIndex(request) }
    return (index, try report(on: index, plans: plans, seconds: watch.seconds, inputs))
  }

  private func report(
    on index: SparseIndex, plans: [HeadPlan], seconds: Double, _ inputs: ChunkInputs
  ) throws -> IndexReport {
    let causal = SparseIndex.causalPairs(
      firstPosition: inputs.firstPosition, rows: inputs.rows,
      slidingWindow: inputs.shape.slidingWindow)
    let pairs = try index.resident?.computedPairs() ?? []
    let isDense = try index.resident?.isDense() ?? []
    let reasons = plans.indices.map { head -> DenseReason? in
      if let reason = plans[head].denseReason { return reason }
      guard isDense[head], plans[head].request != .dense else { return nil }
      return pairs[head] < causal
        ? .costsMoreThanDense(ratio: 1) : .indexIsDense
    }
    return IndexReport(
      seconds: seconds, estimationSeconds: seconds, computedPairs: pairs,
      causalPairs: Array(repeating: causal, count: pairs.count), denseReasons: reasons)
  }

  /// What one head asks the device for.
  private struct HeadPlan {
    var request: IndexRequest.Head
    /// Why the head is dense although its pattern is not.
    var denseReason: DenseReason?
  }

  private func plan(
    _ pattern: HeadPattern, layer: Int, head: Int, sums: LastRowSums?, _ inputs: ChunkInputs
  ) throws -> HeadPlan {
    if case .verticalSlash(let vertical, let slash) = pattern {
      if VerticalSlash.takesEverything(vertical: vertical, slash: slash, keys: inputs.keys) {
        return HeadPlan(request: .dense, denseReason: .budgetTakesEverything)
      }
      let counts = VerticalSlashRule.estimated.counts(
        vertical: vertical, slash: slash, keys: inputs.keys)
      return HeadPlan(
        request: .scored(
          .lastRows,
          .bandsAndColumns(offsets: .count(counts.offsets), columns: .count(counts.columns))))
    }
    if case .blockSparse(let topK) = pattern {
      return needsBlocks(pattern, inputs)
        ? HeadPlan(request: .scored(.pooledMeans, .blocks(.count(topK))))
        : HeadPlan(request: .dense, denseReason: .budgetTakesEverything)
    }
    // All other patterns are fixed bands.
    let selection = try select(
      pattern, layer: layer, head: head, inputs: inputs, sums: sums, pooledKeys: [])
    guard case .bands(let bands) = selection.pairs else {
      return HeadPlan(request: .dense, denseReason: selection.denseReason)
    }
    return HeadPlan(
      request: .bands(
        offsets: bands.offsets, columns: bands.columns, denseFrom: bands.denseFrom))
  }
}
