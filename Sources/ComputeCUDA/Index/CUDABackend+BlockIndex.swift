internal import CUDASources
public import Compute

/// Block-sparse heads of an index: means of blocks, their products, the highest of them, and the lists that
/// attention reads, all on the device (`pooling.cu`).
extension CUDABackend {
  public func poolQueries(
    _ q: Tensor, firstPosition: Int, into means: Tensor, firstBlock: Int
  ) throws {
    let size = BlockIndexSizes.blockSize
    let blocks = (firstPosition + q.rows - 1) / size - firstPosition / size + 1
    try require(
      q.shape.count == 3 && q.rows > 0 && firstPosition >= 0 && means.shape.count == 3
        && means.shape[0] == q.shape[1] && means.shape[2] == q.shape[2]
        && BlockLaunch.headDims.contains(q.shape[2])
        && firstBlock >= 0 && firstBlock + blocks <= means.shape[1], "poolQueries",
      "q \(q.shape) from position \(firstPosition) to blocks \(firstBlock) and on of \(means.shape)"
    )
    try launchMeans(
      of: address(q, .bfloat16, "poolQueries"), rows: q.rows, rowStride: q.rowCount,
      headStride: q.shape[2], firstPosition: firstPosition, into: means, firstBlock: firstBlock)
  }

  /// Means of blocks of rows for all heads of `means`, [heads, blocks, headDim]. Strides in elements.
  func launchMeans(
    of x: UInt64, rows: Int, rowStride: Int, headStride: Int, firstPosition: Int,
    into means: Tensor, firstBlock: Int, blockSize size: Int = BlockIndexSizes.blockSize
  ) throws {
    var arguments = KernelArguments()
    arguments.add(x)
    arguments.add(try address(means, .float32, "poolQueries"))
    arguments.add(Int32(rows))
    arguments.add(Int32(firstPosition))
    arguments.add(Int32(means.shape[2]))
    arguments.add(Int32(firstBlock))
    arguments.add(Int32(means.shape[1]))
    arguments.add(Int32(size))
    arguments.add(Int64(rowStride))
    arguments.add(Int64(headStride))
    let blocks = (firstPosition + rows - 1) / size - firstPosition / size + 1
    try kernel("mean_blocks", in: BlockLaunch.file).launch(
      grid: (blocks, means.shape[0], 1), block: BlockLaunch.threads, arguments)
  }
}

extension CUDABackend.Building {
  /// Heads that take the key blocks with the highest products of means.
  func planBlocks() throws {
    let wanted = request.heads.enumerated().compactMap { head, request -> mi_block_head? in
      guard case .scored(.pooledMeans, .blocks(.count(let topK))) = request else { return nil }
      return mi_block_head(head: Int32(head), top_k: Int32(clamping: max(topK, 0)))
    }
    guard let most = wanted.map(\.top_k).max() else { return }
    let shape = chunk.shape
    let sizes = BlockIndexSizes(
      heads: wanted.count, topK: Int(most), firstPosition: chunk.firstPosition,
      rows: chunk.rows, scoreBytes: BlockLaunch.scoreBytes)
    let expected = [shape.queryHeads, sizes.queryBlocks, shape.headDim]
    guard let queries = chunk.deviceEstimates.pooledQueries, queries.shape == expected,
      CUDABackend.headDims.contains(shape.headDim), sizes.keyBlocks <= BlockLaunch.mostKeyBlocks
    else {
      throw ComputeError.shapeMismatch(
        operation: "makeIndex",
        detail: "block-sparse heads need means of queries \(expected) and at most "
          + "\(BlockLaunch.mostKeyBlocks * BlockIndexSizes.blockSize) keys")
    }
    let keys = try backend.makeTensor(
      .float32, [shape.keyValueHeads, sizes.keyBlocks, shape.headDim], purpose: purpose)
    try backend.launchMeans(
      of: backend.address(chunk.layer.keys, .bfloat16, "makeIndex"), rows: chunk.keys,
      rowStride: shape.headDim, headStride: chunk.layer.capacity * shape.headDim,
      firstPosition: 0, into: keys, firstBlock: 0)
    func numbers(_ shape: [Int]) throws -> Tensor {
      try backend.makeTensor(.int32, shape, purpose: purpose)
    }
    let count = wanted.count
    let heads = try backend.uploaded(wanted, purpose: purpose)
    let scores = try backend.makeTensor(
      .float32, [count, 2 * sizes.slabPairs, sizes.keyBlocks], purpose: purpose)
    let rooms = try numbers([count, sizes.pairs, sizes.listCapacity])
    let stepCounts = try numbers([count, sizes.pairs])
    let work = try numbers([count, sizes.pairs, 4])
    let steps = try numbers([count, sizes.pairs * sizes.listCapacity])
    let stepOffsets = try numbers([count, sizes.pairs + 1])
    var parameters = try parameters(sizes)
    parameters.queries = try backend.address(queries, .float32, "makeIndex")
    parameters.keys = try backend.address(keys, "makeIndex")
    parameters.scores = try backend.address(scores, "makeIndex")
    parameters.heads = try backend.address(heads, "makeIndex")
    parameters.rooms = try backend.address(rooms, "makeIndex")
    parameters.step_counts = try backend.address(stepCounts, "makeIndex")
    parameters.work = try backend.address(work, "makeIndex")
    parameters.steps = try backend.address(steps, "makeIndex")
    parameters.step_offsets = try backend.address(stepOffsets, "makeIndex")
    // Memory that is given back is used again by what is made next, so nothing goes before the launches.
    try withExtendedLifetime([queries, keys, heads, scores, rooms, stepCounts, work]) {
      try launch(parameters, sizes)
    }
    lists += [steps, stepOffsets]
  }

  /// All but the addresses of what is made for these heads alone.
  private func parameters(_ sizes: BlockIndexSizes) throws -> mi_block_parameters {
    var parameters = mi_block_parameters()
    parameters.plans = try backend.address(plans, "makeIndex")
    parameters.pair_counts = try backend.address(pairs, "makeIndex")
    parameters.query_blocks = Int32(sizes.queryBlocks)
    parameters.key_blocks = Int32(sizes.keyBlocks)
    parameters.score_stride = Int32(sizes.keyBlocks)
    parameters.pairs = Int32(sizes.pairs)
    parameters.rows = Int32(chunk.rows)
    parameters.first_position = Int32(chunk.firstPosition)
    parameters.head_dim = Int32(chunk.shape.headDim)
    parameters.group_size = Int32(chunk.shape.groupSize)
    parameters.top_k = Int32(sizes.topK)
    parameters.window = Int32(clamping: chunk.shape.slidingWindow ?? .max)
    parameters.tile_cost = Float(request.tileCost)
    parameters.run_cost = Float(request.runCost)
    parameters.exact = request.exact ? 1 : 0
    return parameters
  }

  /// The kernels in their order: scores and choices slab by slab, then the lists of the whole chunk.
  private func launch(_ all: mi_block_parameters, _ sizes: BlockIndexSizes) throws {
    func launch(
      _ name: String, _ parameters: mi_block_parameters, grid: (Int, Int, Int), block: Int
    ) throws {
      var arguments = KernelArguments()
      arguments.add(parameters)
      try backend.kernel(name, in: BlockLaunch.file).launch(
        grid: grid, block: block, arguments)
    }
    var start = 0
    while start < sizes.pairs {
      let pairs = min(sizes.slabPairs, sizes.pairs - start)
      var slab = all
      slab.slab_pair = Int32(start)
      slab.slab_pairs = Int32(pairs)
      try launch(
        "block_scores", slab,
        grid: BlockLaunch.scoreGrid(
          keyBlocks: sizes.keyBlocks, slabPairs: pairs, heads: sizes.heads),
        block: BlockLaunch.threads)
      try launch(
        "select_blocks", slab, grid: (pairs, sizes.heads, 1), block: BlockLaunch.threads)
      start += pairs
    }
    try launch("count_blocks", all, grid: (sizes.heads, 1, 1), block: BlockLaunch.countThreads)
    try launch(
      "gather_blocks", all, grid: (sizes.pairs, sizes.heads, 1), block: BlockLaunch.gatherThreads)
  }
}

/// Geometry of `pooling.cu`.
package enum BlockLaunch {
  package static let file = "pooling.cu"
  /// Of mean_blocks, block_scores and select_blocks.
  package static let threads = 256
  package static let countThreads = 1024
  package static let gatherThreads = 64
  /// Bytes of scores that are enough to keep a GPU busy.
  package static let scoreBytes = 128 << 20
  /// Query blocks and key blocks of a thread block of block_scores.
  package static let queries = 64
  package static let keys = 128
  /// Head sizes whose means are taken.
  package static let headDims = CUDABackend.headDims
  /// Key blocks that select_blocks has bits for.
  package static let mostKeyBlocks = 2048 * 32

  package static func scoreGrid(keyBlocks: Int, slabPairs: Int, heads: Int) -> (Int, Int, Int) {
    ((keyBlocks + keys - 1) / keys, (2 * slabPairs + queries - 1) / queries, heads)
  }
}
