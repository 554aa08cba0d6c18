internal import CUDASources
internal import Compute

/// The blocks of a chunk, chosen as its queries come, as bits on the device.
final class CUDABlockChoice: ResidentBlockChoice, @unchecked Sendable {
  let request: ShareRequest
  let sizes: ShareIndexSizes
  let backend: CUDABackend
  /// [slots] ShareHead.
  private let heads: Tensor
  /// [slots, query blocks, words]; [slots, query blocks, 3] 64-bit; [slots, query blocks].
  private let bits: Tensor
  private let work: Tensor
  private let stepCounts: Tensor
  /// What alternatives to blocks are judged by; nil: no head has one.
  private let bandChoice: CUDABandChoice?
  /// Where means are scored: [keyValueHeads, groups of keys, headDim], float32 of blocks and bfloat16 of
  /// smaller groups; and how many groups are whole.
  let keyMeans: Tensor?
  var pooledKeyGroups = 0

  var purpose: String { "choosing blocks over \(request.keyBlocks) key blocks" }

  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for heads or keys that the kernels have no
  ///   room for.
  init(_ request: ShareRequest, backend: CUDABackend) throws {
    self.request = request
    self.backend = backend
    sizes = ShareIndexSizes(
      heads: request.heads.count, source: request.source,
      firstPosition: request.firstPosition, rows: request.rows)
    let shape = request.shape
    try backend.require(
      !request.heads.isEmpty && request.rows > 0 && request.source.isSupported
        && CUDABackend.headDims.contains(shape.headDim)
        && request.keyBlocks <= ShareLaunch.mostKeyBlocks, "makeBlockChoice",
      "\(request.heads.count) heads of \(shape.headDim), \(request.source), at most "
        + "\(ShareLaunch.mostKeyBlocks * ShareRule.blockSize) keys")
    let isOneGroup = request.source.scoredGroupsOfBlock == 1
    try backend.require(
      request.heads.allSatisfy { $0.alternative == nil || $0.columns == 0 && isOneGroup },
      "makeBlockChoice",
      "heads with an alternative have no single columns, and a source of one group a block: "
        + "\(request.source)")
    let purpose = "choosing blocks over \(request.keyBlocks) key blocks"
    heads = try backend.uploaded(
      request.heads.map {
        mi_share_head(
          head: Int32($0.head), share: $0.rule.share, floor: $0.rule.floor, cap: $0.rule.cap,
          has_columns: $0.columns > 0 ? 1 : 0, dense_from: Int32(clamping: $0.denseFrom ?? .max),
          least: Int32(clamping: $0.rule.least),
          band_distance: $0.alternative?.distance ?? .infinity)
      }, purpose: purpose)
    bandChoice =
      request.hasAlternatives
      ? try CUDABandChoice(request, heads: heads, backend: backend, purpose: purpose) : nil
    let slots = request.heads.count
    bits = try backend.makeTensor(
      .int32, [slots, sizes.queryBlocks, sizes.words], purpose: purpose)
    work = try backend.makeTensor(.int32, [slots, sizes.queryBlocks, 6], purpose: purpose)
    stepCounts = try backend.makeTensor(.int32, [slots, sizes.queryBlocks], purpose: purpose)
    if case .means(let size) = request.source {
      let groups = sizes.keyBlocks * (ShareRule.blockSize / size)
      keyMeans = try backend.makeTensor(
        size == ShareRule.blockSize ? .float32 : .bfloat16,
        [shape.keyValueHeads, groups, shape.headDim], purpose: purpose)
    } else {
      keyMeans = nil
    }
  }

  /// Query blocks scored at a time.
  struct Part {
    let blocks: Range<Int>
    /// Position behind the part's last row.
    let end: Int
    let groups: Int
    /// [slots, groups, sumStride] and [slots, groups, keyTiles] float32.
    let sums: Tensor
    let maxima: Tensor
  }

  func add(_ q: Tensor, firstPosition position: Int, layer: KeyValueLayer) throws {
    try forParts(of: q, firstPosition: position, layer: layer) { _ in }
  }

  /// Scored groups of a block that the chunk has a row of.
  func validGroups(ofBlock block: Int) -> Int {
    let rows = request.firstPosition..<request.firstPosition + request.rows
    return (0..<sizes.groupsOfBlock).count { group in
      request.source.positions(ofScoredGroup: block * sizes.groupsOfBlock + group).overlaps(rows)
    }
  }

  /// Scores and chooses for these rows; `visit` sees the sums of each part.
  func forParts(
    of q: Tensor, firstPosition position: Int, layer: KeyValueLayer,
    visit: (Part) throws -> Void
  ) throws {
    let size = ShareRule.blockSize
    let (shape, end) = (request.shape, position + q.rows)
    try backend.require(
      q.shape == [q.rows, shape.queryHeads, shape.headDim] && q.rows > 0
        && position >= request.firstPosition && end <= request.firstPosition + request.rows
        && end <= layer.count && (position == request.firstPosition || position % size == 0),
      "ResidentBlockChoice", "q \(q.shape) from position \(position), \(layer.count) keys")
    var start = position
    while start < end {
      let first = start / size
      let next = min(end, (first + sizes.blocksAtOnce) * size)
      let blocks = first..<(next - 1) / size + 1
      let groups = blocks.count * sizes.groupsOfBlock
      let slots = request.heads.count
      let sums = try backend.makeTensor(
        .float32, [slots, groups, sizes.sumStride], purpose: purpose)
      let maxima = try backend.makeTensor(
        .float32, [slots, groups, sizes.keyTiles], purpose: purpose)
      var parameters = try self.parameters()
      parameters.sums = try backend.address(sums, "ResidentBlockChoice")
      parameters.maxima = try backend.address(maxima, "ResidentBlockChoice")
      parameters.part_rows = Int32(next - start)
      parameters.part_position = Int32(start)
      parameters.part_groups = Int32(groups)
      let rows = q.slice(rows: start - position..<next - position)
      switch request.source {
      case .antidiagonals: try scoreAntidiagonals(of: rows, blocks: blocks, layer, parameters)
      case .means(ShareRule.blockSize):
        try scoreBlockMeans(of: rows, blocks: blocks, layer, parameters)
      case .means: try scoreGroupMeans(of: rows, blocks: blocks, layer, parameters)
      }
      // A warp chooses for a query block that sees few key blocks, a whole thread block for another.
      let choice = ShareLaunch.choice(keyBlocks: blocks.upperBound)
      try launch(
        choice.kernel, in: ShareLaunch.file, parameters,
        grid: ((blocks.count + choice.queryBlocks - 1) / choice.queryBlocks, slots, 1))
      let part = Part(blocks: blocks, end: next, groups: groups, sums: sums, maxima: maxima)
      if next == request.firstPosition + request.rows {
        try bandChoice?.keepLastShares(
          of: part, firstRow: max(start, (blocks.upperBound - 1) * size))
      }
      try visit(part)
      // Memory goes back to the pool behind the launches that use it, not before.
      withExtendedLifetime((sums, maxima, heads)) {}
      start = next
    }
  }

  /// What is the same in all launches.
  private func parameters() throws -> mi_share_parameters {
    var parameters = mi_share_parameters()
    parameters.heads = try backend.address(heads, "ResidentBlockChoice")
    parameters.bits = try backend.address(bits, "ResidentBlockChoice")
    parameters.work = try backend.address(work, "ResidentBlockChoice")
    parameters.step_counts = try backend.address(stepCounts, "ResidentBlockChoice")
    parameters.first_position = Int32(request.firstPosition)
    parameters.rows = Int32(request.rows)
    parameters.sum_stride = Int32(sizes.sumStride)
    parameters.maximum_stride = Int32(sizes.keyTiles)
    parameters.words = Int32(sizes.words)
    parameters.chunk_blocks = Int32(sizes.queryBlocks)
    parameters.q_stride = Int32(request.shape.queryHeads * request.shape.headDim)
    parameters.group_size = Int32(request.shape.groupSize)
    parameters.stride = Int32(request.source.stride)
    parameters.query_stride = Int32(request.source.queryStride)
    parameters.window = Int32(clamping: request.shape.slidingWindow ?? .max)
    parameters.scale_log2 = request.shape.scale * ShareLaunch.log2OfE / Float(request.source.stride)
    return parameters
  }

  func launch(
    _ name: String, in file: String, _ parameters: mi_share_parameters, grid: (Int, Int, Int),
    block: Int = ShareLaunch.threads, sharedBytes: Int = 0
  ) throws {
    var arguments = KernelArguments()
    arguments.add(parameters)
    try backend.kernel(name, in: file).launch(
      grid: grid, block: block, shared: sharedBytes, arguments)
  }

  /// The plans of these heads: their lists, and what they cost.
  ///
  /// - Parameters:
  ///   - columns: [heads][most] and [heads][2], where a head has any.
  ///   - columnSums: [heads][stride], where a head has an alternative. The plan of this is made already.
  /// - Returns: What the plans point to.
  func plan(
    _ index: IndexRequest, plans: Tensor, pairs: Tensor,
    columns: (columns: Tensor, counts: Tensor)?, columnSums: Tensor?
  ) throws -> [Tensor] {
    let slots = request.heads.count
    let purpose = "an index over \(index.chunk.keys) keys"
    let steps = try backend.makeTensor(.int32, [slots, sizes.stepCapacity], purpose: purpose)
    let offsets = try backend.makeTensor(
      .int32, [slots, sizes.queryBlocks + 1], purpose: purpose)
    var parameters = try self.parameters()
    parameters.steps = try backend.address(steps, "makeIndex")
    parameters.step_offsets = try backend.address(offsets, "makeIndex")
    parameters.step_capacity = Int32(sizes.stepCapacity)
    parameters.plans = try backend.address(plans, "makeIndex")
    parameters.pair_counts = try backend.address(pairs, "makeIndex")
    if let columns {
      parameters.columns = try backend.address(columns.columns, "makeIndex")
      parameters.column_counts = try backend.address(columns.counts, "makeIndex")
      parameters.column_stride = Int32(columns.columns.rowCount)
    }
    parameters.tile_cost = Float(index.tileCost)
    parameters.run_cost = Float(index.runCost)
    parameters.column_cost = Float(index.columnCost)
    parameters.exact = index.exact ? 1 : 0
    if let bandChoice {
      try backend.require(columnSums != nil, "makeIndex", "alternatives without sums of columns")
      if let columnSums { try bandChoice.choose(columnSums) }
      parameters.takes_bands = try backend.address(bandChoice.takesBands, "makeIndex")
    }
    let lists = (sizes.queryBlocks, slots, 1)
    if request.heads.contains(where: { $0.columns > 0 }) {
      try backend.require(columns != nil, "makeIndex", "heads of chosen blocks without columns")
      try launch(
        "count_share_columns", in: ShareLaunch.file, parameters, grid: lists,
        block: ShareLaunch.listThreads)
    }
    try launch(
      "count_shares", in: ShareLaunch.file, parameters, grid: (slots, 1, 1),
      block: ShareLaunch.countThreads)
    try launch(
      "gather_shares", in: ShareLaunch.file, parameters, grid: lists,
      block: ShareLaunch.listThreads)
    withExtendedLifetime((heads, bits, work, stepCounts, bandChoice)) {}
    return [steps, offsets]
  }
}

extension CUDABackend.Building {
  /// Heads whose blocks were chosen as the queries came.
  func planChosenBlocks() throws {
    var planned: Set<Int> = []
    for choice in chunk.deviceEstimates.blockChoices {
      guard let choice = choice as? CUDABlockChoice else {
        throw ComputeError.shapeMismatch(
          operation: "makeIndex", detail: "blocks were chosen by another backend")
      }
      try backend.require(
        choice.request.firstPosition == chunk.firstPosition
          && choice.request.rows == chunk.rows,
        "makeIndex", "blocks were chosen for another chunk")
      lists += try choice.plan(
        request, plans: plans, pairs: pairs, columns: estimatedColumns, columnSums: columnSums)
      planned.formUnion(choice.request.heads.map(\.head))
    }
    let wanted = request.heads.indices.filter {
      if case .chosenBlocks = request.heads[$0] { true } else { false }
    }
    try backend.require(
      planned == Set(wanted), "makeIndex", "blocks were chosen for heads \(planned.sorted())")
  }
}
