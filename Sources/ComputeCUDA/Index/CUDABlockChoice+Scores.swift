internal import CUDASources
internal import Compute

/// Scores of a part's queries, for each source of shares: sums over key blocks and their maxima, which
/// select_shares reads.
extension CUDABlockChoice {
  /// Antidiagonals of groups (`antidiagonal.cu`).
  func scoreAntidiagonals(
    of q: Tensor, blocks: Range<Int>, _ layer: KeyValueLayer, _ part: mi_share_parameters
  ) throws {
    var parameters = part
    parameters.q = try backend.address(q, .bfloat16, "ResidentBlockChoice")
    parameters.k = try backend.address(layer.keys, .bfloat16, "ResidentBlockChoice")
    parameters.kv_head_stride = Int64(layer.capacity * request.shape.headDim)
    try launchGroupScores("antidiagonal_scores", parameters, blocks: blocks)
  }

  /// Means of groups smaller than a block (`pooled_shares.cu`, `antidiagonal.cu`).
  func scoreGroupMeans(
    of q: Tensor, blocks: Range<Int>, _ layer: KeyValueLayer, _ part: mi_share_parameters
  ) throws {
    guard let keyMeans else { return }
    let (shape, size) = (request.shape, request.source.stride)
    let keys = Int(part.part_position) + q.rows
    try launchGroupMeans(
      of: backend.address(layer.keys, .bfloat16, "ResidentBlockChoice")
        + UInt64(2 * pooledKeyGroups * size * shape.headDim),
      rows: keys - pooledKeyGroups * size, firstPosition: pooledKeyGroups * size,
      rowStride: shape.headDim, headStride: layer.capacity * shape.headDim,
      groups: pooledKeyGroups..<(keys - 1) / size + 1, heads: shape.keyValueHeads,
      into: backend.address(keyMeans, "ResidentBlockChoice")
        + UInt64(2 * pooledKeyGroups * shape.headDim),
      meanStride: shape.headDim, meanHeadStride: keyMeans.shape[1] * shape.headDim)
    pooledKeyGroups = keys / size
    let queryMeans = try backend.makeTensor(
      .bfloat16, [Int(part.part_groups), shape.queryHeads, shape.headDim], purpose: purpose)
    let firstGroup = blocks.lowerBound * sizes.groupsOfBlock
    try launchGroupMeans(
      of: backend.address(q, .bfloat16, "ResidentBlockChoice"), rows: q.rows,
      firstPosition: Int(part.part_position), rowStride: q.rowCount, headStride: shape.headDim,
      groups: firstGroup..<firstGroup + Int(part.part_groups), heads: shape.queryHeads,
      into: backend.address(queryMeans, "ResidentBlockChoice"), meanStride: q.rowCount,
      meanHeadStride: shape.headDim)
    var parameters = part
    parameters.q = try backend.address(queryMeans, "ResidentBlockChoice")
    parameters.k = try backend.address(keyMeans, "ResidentBlockChoice")
    parameters.kv_head_stride = Int64(keyMeans.shape[1] * shape.headDim)
    // A mean is a group's, and no sum of stride products.
    parameters.scale_log2 = shape.scale * ShareLaunch.log2OfE
    try launchGroupScores("mean_group_scores", parameters, blocks: blocks)
    withExtendedLifetime(queryMeans) {}
  }

  /// Means of whole blocks (`pooling.cu`, `pooled_shares.cu`).
  func scoreBlockMeans(
    of q: Tensor, blocks: Range<Int>, _ layer: KeyValueLayer, _ part: mi_share_parameters
  ) throws {
    guard let keyMeans else { return }
    let (shape, size) = (request.shape, ShareRule.blockSize)
    let end = Int(part.part_position) + q.rows
    let firstKey = pooledKeyGroups * size
    try backend.launchMeans(
      of: backend.address(layer.keys, .bfloat16, "ResidentBlockChoice")
        + UInt64(2 * firstKey * shape.headDim),
      rows: end - firstKey, rowStride: shape.headDim, headStride: layer.capacity * shape.headDim,
      firstPosition: firstKey, into: keyMeans, firstBlock: pooledKeyGroups, blockSize: size)
    pooledKeyGroups = end / size
    let queryMeans = try backend.makeTensor(
      .float32, [shape.queryHeads, blocks.count, shape.headDim], purpose: purpose)
    try backend.launchMeans(
      of: backend.address(q, .bfloat16, "ResidentBlockChoice"), rows: q.rows,
      rowStride: q.rowCount, headStride: shape.headDim, firstPosition: Int(part.part_position),
      into: queryMeans, firstBlock: 0, blockSize: size)
    let parameters = mi_pooled_score_parameters(
      queries: try backend.address(queryMeans, "ResidentBlockChoice"),
      keys: try backend.address(keyMeans, "ResidentBlockChoice"), heads: part.heads,
      sums: part.sums, maxima: part.maxima, part_block: Int32(blocks.lowerBound),
      part_blocks: Int32(blocks.count), key_blocks: Int32(sizes.keyBlocks),
      sum_stride: part.sum_stride, maximum_stride: part.maximum_stride,
      head_dim: Int32(shape.headDim), group_size: part.group_size, window: part.window,
      scale_log2: shape.scale * ShareLaunch.log2OfE)
    var arguments = KernelArguments()
    arguments.add(parameters)
    try backend.kernel("pooled_scores", in: ShareLaunch.pooled).launch(
      grid: (
        sizes.keyTiles(upToBlock: blocks.upperBound),
        (blocks.count + ShareLaunch.pooledQueries - 1) / ShareLaunch.pooledQueries,
        request.heads.count
      ), block: ShareLaunch.threads, arguments)
    withExtendedLifetime(queryMeans) {}
  }

  private func launchGroupScores(
    _ name: String, _ parameters: mi_share_parameters, blocks: Range<Int>
  ) throws {
    let tile = ShareIndexSizes.scoreTile
    try launch(
      "\(name)_d\(request.shape.headDim)", in: ShareLaunch.scores, parameters,
      grid: (
        sizes.keyTiles(upToBlock: blocks.upperBound),
        (blocks.count * sizes.groupsOfBlock + tile - 1) / tile, request.heads.count
      ), sharedBytes: ShareLaunch.scoreBytes)
  }

  /// Means of groups of rows in bfloat16. Strides in elements.
  private func launchGroupMeans(
    of x: UInt64, rows: Int, firstPosition: Int, rowStride: Int, headStride: Int,
    groups: Range<Int>, heads: Int, into means: UInt64, meanStride: Int, meanHeadStride: Int
  ) throws {
    let headDim = request.shape.headDim
    var arguments = KernelArguments()
    arguments.add(x)
    arguments.add(means)
    for number in [
      rows, firstPosition, headDim, heads, request.source.stride, groups.lowerBound, groups.count,
    ] {
      arguments.add(Int32(number))
    }
    for stride in [rowStride, headStride, meanStride, meanHeadStride] {
      arguments.add(Int64(stride))
    }
    let threads = groups.count * heads * headDim / 8
    try backend.kernel("group_means", in: ShareLaunch.pooled).launch(
      grid: ((threads + ShareLaunch.threads - 1) / ShareLaunch.threads, 1, 1),
      block: ShareLaunch.threads, arguments)
  }
}
