import Compute

/// Planning on backends that build indices themselves. One request with all heads' budgets goes to the device;
/// two counts for each head come back when they are read.
extension AttentionPlanner {
  /// The index of one (layer, chunk), built by the backend; nil if the host makes it, as it does for heads
  /// that look at all queries where the device has not seen these.
  func makeResidentIndex(
    layer: Int, _ chunk: ChunkInputs, backend: any Backend, memory: SelectionMemory
  ) throws -> PlannedIndex? {
    guard backend.capabilities.buildsIndices,
      wholeChunkReason(keys: chunk.keys, rows: chunk.rows) == nil
    else { return nil }
    try check(layer: layer, chunk)
    let patterns = configuration.patterns[layer]
    let needs = patterns.indices.map { self.needs(layer: layer, head: $0, chunk, memory) }
    let estimates = chunk.deviceEstimates
    let chosen = Set(estimates.blockChoices.flatMap { $0.request.heads.map(\.head) })
    guard estimates.pooledQueries != nil || !needs.contains(where: \.pooledMeans),
      needs.indices.allSatisfy({ needs[$0].blockShares == nil || chosen.contains($0) })
    else { return nil }
    let watch = backend.makeStopwatch()
    let requests = try watch.time {
      try headRequests(layer: layer, needs: needs, chunk, backend: backend, memory: memory)
    }
    guard requests.contains(where: { $0.request != .dense }) else { return nil }
    let rule = VerticalSlashRule.estimated
    var request = IndexRequest(
      heads: requests.map(\.request), chunk: chunk,
      forcedColumns: rule.forcedColumns, forcedOffsets: rule.forcedOffsets,
      columnCost: costModel.columnPair, tileCost: costModel.tilePair, runCost: costModel.run,
      exact: exact)
    request.freeBands = freeBands
    let index = try watch.time { try backend.makeIndex(request) }
    guard case .resident(let resident) = index else {
      throw ComputeError.shapeMismatch(
        operation: "makeIndex", detail: "\(backend.name) built an index that it does not keep")
    }
    return PlannedIndex(
      index: index,
      pending: PendingIndexReport(
        counts: resident.counts, watch: watch,
        causalPairs: SparseIndex.causalPairs(
          firstPosition: chunk.firstPosition, rows: chunk.rows,
          slidingWindow: chunk.shape.slidingWindow),
        isSparse: requests.map { $0.request != .dense }, denseReasons: requests.map(\.denseReason)))
  }

  private struct HeadRequest {
    var request: IndexRequest.Head
    /// Why the head is dense although its pattern is not.
    var denseReason: DenseReason?
  }

  /// The request of each head. Heads that are selected on the host are estimated here.
  private func headRequests(
    layer: Int, needs: [SketchNeeds], _ chunk: ChunkInputs, backend: any Backend,
    memory: SelectionMemory
  ) throws -> [HeadRequest] {
    let patterns = configuration.patterns[layer]
    let requests = patterns.map { $0.selector.deviceRequest(keys: chunk.keys) }
    let sums = try lastRowSums(
      ofHeads: requests.indices.filter { requests[$0] == .selectedOnHost && needs[$0].lastRows },
      chunk, backend: backend)
    return try requests.enumerated().map { head, request in
      switch request {
      case .dense(let reason): return HeadRequest(request: .dense, denseReason: reason)
      case .estimated(let request): return HeadRequest(request: request)
      case .chosenBlocks: return HeadRequest(request: .chosenBlocks)
      case .selectedOnHost:
        var sketch = sketch(layer: layer, head: head, chunk, memory)
        sketch.lastRowSums = sums[head]
        let selection = try patterns[head].selector.select(sketch)
        guard case .bands(let bands) = selection.pairs else {
          return HeadRequest(request: .dense, denseReason: selection.denseReason)
        }
        return HeadRequest(
          request: .bands(
            offsets: bands.offsets, columns: bands.columns, denseFrom: bands.denseFrom))
      }
    }
  }
}
