internal import CUDASources
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Heads that choose key blocks by the scores of antidiagonals (`antidiagonal.cu`, `shares.cu`).
extension CUDABackend {
  public func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    try CUDABlockChoice(request, backend: self)
  }

  /// The shares themselves, for indices that are made on the host: sums are the device's, and are put
  /// together here.
  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    stride: Int
  ) throws -> Tensor {
    try layer.requireBlockShares(q, firstPosition, shape, heads, stride: stride)
    let request = ShareRequest(
      heads: heads.map { ShareRequest.Head(head: $0, rule: ShareRule(share: 1)) }, stride: stride,
      firstPosition: firstPosition, rows: q.rows, shape: shape)
    let choice = try CUDABlockChoice(request, backend: self)
    let (queryBlocks, keyBlocks) = (request.queryBlocks, request.keyBlocks)
    var shares = [Float](repeating: 0, count: heads.count * queryBlocks * keyBlocks)
    let sizes = choice.sizes
    let groups = sizes.groupsOfBlock
    try choice.forParts(of: q, firstPosition: firstPosition, layer: layer) { part in
      let sums = try read(part.sums)
      let maxima = try read(part.maxima)
      for slot in heads.indices {
        for block in part.blocks {
          for group in 0..<groups {
            let start = block * ShareRule.blockSize + group * stride
            guard start + stride > firstPosition, start < part.end else { continue }
            let row = slot * part.groups + (block - part.blocks.lowerBound) * groups + group
            // Score tiles outside the window of all their rows are left out.
            let top = max(firstPosition, block * ShareRule.blockSize)
            let hidden = max(0, top - (shape.slidingWindow ?? top + 1) + 1)
            let visible = min(block, hidden / ShareRule.blockSize)...block
            let tile = { (key: Int) in maxima[row * sizes.keyTiles + key / stride] }
            let largest = visible.map(tile).max() ?? 0
            let masses = visible.map {
              Double(sums[row * sizes.sumStride + $0]) * exp2(Double(tile($0) - largest))
            }
            let total = masses.reduce(0, +) * Double(choice.validGroups(ofBlock: block))
            let first = block - firstPosition / ShareRule.blockSize
            for (key, mass) in zip(visible, masses) where total > 0 {
              shares[(slot * queryBlocks + first) * keyBlocks + key] += Float(mass / total)
            }
          }
        }
      }
    }
    let tensor = try makeTensor(
      .float32, [heads.count, queryBlocks, keyBlocks], purpose: "shares of \(keyBlocks) key blocks")
    try write(shares, to: tensor)
    return tensor
  }
}

/// The blocks of a chunk, chosen as its queries come, as bits on the device.
final class CUDABlockChoice: ResidentBlockChoice, @unchecked Sendable {
  let request: ShareRequest
  let sizes: ShareIndexSizes
  private let backend: CUDABackend
  private let heads: Tensor
  /// [slots, query blocks, words]; [slots, query blocks, 3] 64-bit; [slots, query blocks].
  private let bits: Tensor
  private let work: Tensor
  private let stepCounts: Tensor

  private var purpose: String { "choosing blocks over \(request.keyBlocks) key blocks" }

  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for heads or keys that the kernels have no
  ///   room for.
  init(_ request: ShareRequest, backend: CUDABackend) throws {
    self.request = request
    self.backend = backend
    sizes = ShareIndexSizes(
      heads: request.heads.count, stride: request.stride, firstPosition: request.firstPosition,
      rows: request.rows)
    try backend.require(
      !request.heads.isEmpty && request.rows > 0 && ShareRule.strides.contains(request.stride)
        && CUDABackend.headDims.contains(request.shape.headDim)
        && request.keyBlocks <= ShareLaunch.mostKeyBlocks, "makeBlockChoice",
      "\(request.heads.count) heads of \(request.shape.headDim), stride \(request.stride), at most "
        + "\(ShareLaunch.mostKeyBlocks * ShareRule.blockSize) keys")
    let purpose = "choosing blocks over \(request.keyBlocks) key blocks"
    heads = try backend.uploaded(
      request.heads.map {
        mi_share_head(
          head: Int32($0.head), share: $0.rule.share, floor: $0.rule.floor, cap: $0.rule.cap,
          has_columns: 0)
      }, purpose: purpose)
    let slots = request.heads.count
    bits = try backend.makeTensor(
      .int32, [slots, sizes.queryBlocks, sizes.words], purpose: purpose)
    work = try backend.makeTensor(.int32, [slots, sizes.queryBlocks, 6], purpose: purpose)
    stepCounts = try backend.makeTensor(.int32, [slots, sizes.queryBlocks], purpose: purpose)
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

  /// Groups of a block that the chunk has a row of.
  func validGroups(ofBlock block: Int) -> Int {
    let end = request.firstPosition + request.rows
    return (0..<sizes.groupsOfBlock).count { group in
      let start = block * ShareRule.blockSize + group * request.stride
      return start + request.stride > request.firstPosition && start < end
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
      parameters.q = try backend.address(
        q.slice(rows: start - position..<next - position), .bfloat16, "ResidentBlockChoice")
      parameters.k = try backend.address(layer.keys, .bfloat16, "ResidentBlockChoice")
      parameters.kv_head_stride = Int64(layer.capacity * shape.headDim)
      parameters.sums = try backend.address(sums, "ResidentBlockChoice")
      parameters.maxima = try backend.address(maxima, "ResidentBlockChoice")
      parameters.part_rows = Int32(next - start)
      parameters.part_position = Int32(start)
      parameters.part_groups = Int32(groups)
      let keyTiles =
        (blocks.upperBound * sizes.groupsOfBlock + ShareIndexSizes.scoreTile - 1)
        / ShareIndexSizes.scoreTile
      let queryTiles = (groups + ShareIndexSizes.scoreTile - 1) / ShareIndexSizes.scoreTile
      try launch(
        "antidiagonal_scores_d\(shape.headDim)", in: ShareLaunch.scores, parameters,
        grid: (keyTiles, queryTiles, slots), sharedBytes: ShareLaunch.scoreBytes)
      try launch(
        "select_shares", in: ShareLaunch.file, parameters, grid: (blocks.count, slots, 1))
      try visit(
        Part(blocks: blocks, end: next, groups: groups, sums: sums, maxima: maxima))
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
    parameters.stride = Int32(request.stride)
    parameters.window = Int32(clamping: request.shape.slidingWindow ?? .max)
    parameters.dense_from = .max
    parameters.scale_log2 = request.shape.scale * 1.442_695_04 / Float(request.stride)
    return parameters
  }

  private func launch(
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
  /// - Returns: What the plans point to.
  func plan(
    _ index: IndexRequest, plans: Tensor, pairs: Tensor,
    columns: (columns: Tensor, counts: Tensor)?
  ) throws -> [Tensor] {
    let slots = request.heads.count
    let purpose = "an index over \(index.keys) keys"
    let steps = try backend.makeTensor(.int32, [slots, sizes.stepCapacity], purpose: purpose)
    let offsets = try backend.makeTensor(
      .int32, [slots, sizes.queryBlocks + 1], purpose: purpose)
    let withColumns = try backend.uploaded(
      request.heads.map { head in
        var hasColumns = false
        if case .chosenBlocks(let count) = index.heads[head.head] { hasColumns = count > 0 }
        return mi_share_head(
          head: Int32(head.head), share: head.rule.share, floor: head.rule.floor,
          cap: head.rule.cap, has_columns: hasColumns && columns != nil ? 1 : 0)
      }, purpose: purpose)
    var parameters = try self.parameters()
    parameters.heads = try backend.address(withColumns, "makeIndex")
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
    parameters.dense_from = Int32(clamping: index.chosenDenseFrom ?? .max)
    parameters.tile_cost = Float(index.tileCost)
    parameters.run_cost = Float(index.runCost)
    parameters.column_cost = Float(index.columnCost)
    parameters.exact = index.exact ? 1 : 0
    let lists = (sizes.queryBlocks, slots, 1)
    if columns != nil {
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
    withExtendedLifetime((withColumns, bits, work, stepCounts)) {}
    return [steps, offsets]
  }
}

extension CUDABackend.Building {
  /// Heads whose blocks were chosen as the queries came.
  func planChosenBlocks() throws {
    var planned: Set<Int> = []
    for choice in request.blockChoices {
      guard let choice = choice as? CUDABlockChoice else {
        throw ComputeError.shapeMismatch(
          operation: "makeIndex", detail: "blocks were chosen by another backend")
      }
      try backend.require(
        choice.request.firstPosition == request.firstPosition
          && choice.request.rows == request.rows,
        "makeIndex", "blocks were chosen for another chunk")
      lists += try choice.plan(request, plans: plans, pairs: pairs, columns: estimatedColumns)
      planned.formUnion(choice.request.heads.map(\.head))
    }
    let wanted = request.heads.indices.filter {
      if case .chosenBlocks = request.heads[$0] { true } else { false }
    }
    try backend.require(
      planned == Set(wanted), "makeIndex", "blocks were chosen for heads \(planned.sorted())")
  }
}

/// Geometry of `antidiagonal.cu` and `shares.cu`.
package enum ShareLaunch {
  package static let scores = "antidiagonal.cu"
  package static let file = "shares.cu"
  /// Of antidiagonal_scores and select_shares.
  package static let threads = 256
  package static let countThreads = 1024
  package static let listThreads = 128
  /// Four stages of two tiles of 128 rows, 40 elements of two bytes apart.
  package static let scoreBytes = 4 * 2 * 128 * 40 * 2
  /// Key blocks that select_shares has bits for.
  package static let mostKeyBlocks = 2048 / 2 * 32
}
