internal import CKernels
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Shares of key blocks. By antidiagonals: products of groups of rows, which a BLAS computes, then a
/// softmax over groups of keys. By means: products of means, then a softmax over blocks.
extension CPUBackend {
  /// Groups of queries whose scores are held at once: a batch sees the keys up to its last group.
  private static let groupsAtOnce = 128

  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    source: ShareSource
  ) throws -> Tensor {
    try layer.requireBlockShares(q, firstPosition, shape, heads, source)
    let pass = SharePass(q: q, firstPosition: firstPosition, shape: shape, source: source)
    let shares = try makeTensor(
      .float32, [heads.count, pass.queryBlocks, pass.keyBlocks],
      purpose: "shares of \(pass.keyBlocks) key blocks")
    let result = try shares.floats("blockShares")
    result.initialize(repeating: 0, count: shares.count)
    switch source {
    case .antidiagonals: try addAntidiagonalShares(q, layer, heads, pass, to: result)
    case .pooledMeans: try addPooledShares(q, layer, heads, pass, to: result)
    }
    return shares
  }

  private func addAntidiagonalShares(
    _ q: Tensor, _ layer: KeyValueLayer, _ heads: [Int], _ pass: SharePass,
    to result: UnsafeMutablePointer<Float>
  ) throws {
    let shape = pass.shape
    let queries = try q.floats("blockShares")
    let keys = try scratch(pass.keyGroups * pass.width)
    let groups = try scratch(Self.groupsAtOnce * pass.width)
    let scores = try scratch(Self.groupsAtOnce * pass.scoreStride)
    // Heads of one key-value head share its keys.
    let order = heads.indices.sorted { heads[$0] < heads[$1] }
    var loaded: Int?
    for slot in order {
      let keyValueHead = heads[slot] / shape.groupSize
      if loaded != keyValueHead {
        try load(keys: layer, head: keyValueHead, pass, into: keys.floats)
        loaded = keyValueHead
      }
      let scored = pass.scoredGroups
      for first in Swift.stride(
        from: scored.lowerBound, to: scored.upperBound, by: Self.groupsAtOnce)
      {
        let end = min(scored.upperBound, first + Self.groupsAtOnce)
        load(queries: queries, head: heads[slot], groups: first..<end, pass, into: groups.floats)
        try multiply(
          groups.floats, rows: end - first, pass.width, keys.floats,
          columns: pass.group(end - 1) + 1, scores.floats, out: pass.scoreStride, false)
        addShares(
          scores.floats, groups: first..<end, pass,
          to: result + slot * pass.queryBlocks * pass.keyBlocks)
      }
    }
  }

  /// Means come from the operations that pool. Scores are one for a pair of blocks: plain loops serve.
  private func addPooledShares(
    _ q: Tensor, _ layer: KeyValueLayer, _ heads: [Int], _ pass: SharePass,
    to result: UnsafeMutablePointer<Float>
  ) throws {
    let size = ShareRule.blockSize
    let dim = pass.shape.headDim
    let keyMeans = try meanPooledKeys(layer, count: pass.keys, blockSize: size)
    let keys = try keyMeans.floats("blockShares")
    // The first block may have rows before the first of q.
    let partial = min((size - pass.firstPosition % size) % size, q.rows)
    let parts = [0..<partial, partial..<q.rows].filter { !$0.isEmpty }
    var block = 0
    for rows in parts {
      let queryMeans = try meanPooled(q.slice(rows: rows), blockSize: size)
      let queries = try queryMeans.floats("blockShares")
      let blocks = queryMeans.shape[1]
      let first = block
      pool.split(heads.count * blocks) { part in
        for index in part {
          let (slot, own) = (index / blocks, index % blocks)
          let (head, local) = (heads[slot], first + own)
          pass.addPooledShares(
            query: queries + (head * blocks + own) * dim,
            keys: keys + head / pass.shape.groupSize * pass.keyBlocks * dim, block: local,
            to: result + (slot * pass.queryBlocks + local) * pass.keyBlocks)
        }
      }
      withExtendedLifetime(queryMeans) {}
      block += blocks
    }
    withExtendedLifetime(keyMeans) {}
  }

  /// The softmax of a batch's scores, into the shares of their query blocks. Batches begin and end at
  /// blocks.
  private func addShares(
    _ scores: UnsafeMutablePointer<Float>, groups: Range<Int>, _ pass: SharePass,
    to shares: UnsafeMutablePointer<Float>
  ) {
    let size = pass.source.scoredGroupsOfBlock
    let blocks = groups.lowerBound / size..<(groups.upperBound - 1) / size + 1
    pool.split(blocks.count) { part in
      for block in blocks.lowerBound + part.lowerBound..<blocks.lowerBound + part.upperBound {
        let present = (block * size..<(block + 1) * size).filter { pass.hasRows(ofScored: $0) }
        for scored in present {
          let group = pass.group(scored)
          kernels.group_shares(
            scores + (scored - groups.lowerBound) * pass.scoreStride,
            Int64(pass.firstVisible(from: group)), Int64(group + 1), Int64(pass.groupsOfBlock),
            1 / Float(present.count), shares + (block - pass.firstBlock) * pass.keyBlocks)
        }
      }
    }
  }

  /// The groups of keys of one head as rows: the keys as they lie, zeros behind the last one.
  private func load(
    keys layer: KeyValueLayer, head: Int, _ pass: SharePass,
    into groups: UnsafeMutablePointer<Float>
  ) throws {
    guard let type = layer.keys.type.storage else {
      throw ComputeError.shapeMismatch(
        operation: "blockShares", detail: "keys of \(layer.keys.type)")
    }
    let dim = pass.shape.headDim
    let source =
      try layer.keys.hostAddress + head * layer.capacity * dim * layer.keys.type.byteCount
    pool.split(pass.keys * dim, minimum: 1 << 14) { range in
      kernels.to_float32(
        source + range.lowerBound * layer.keys.type.byteCount, type, groups + range.lowerBound,
        Int64(range.count))
    }
    (groups + pass.keys * dim).initialize(
      repeating: 0, count: pass.keyGroups * pass.width - pass.keys * dim)
  }

  /// Scored groups of queries of one head as rows, last query first, scaled to base 2; rows that are
  /// not there are zeros.
  private func load(
    queries: UnsafePointer<Float>, head: Int, groups: Range<Int>, _ pass: SharePass,
    into target: UnsafeMutablePointer<Float>
  ) {
    let dim = pass.shape.headDim
    let factor = pass.shape.scale * log2OfE / Float(pass.stride)
    pool.split(groups.count, minimum: 8) { part in
      for index in part {
        let group = pass.group(groups.lowerBound + index)
        for i in 0..<pass.stride {
          let row = group * pass.stride + pass.stride - 1 - i - pass.firstPosition
          let element = target + (index * pass.stride + i) * dim
          guard row >= 0, row < pass.queries else {
            element.initialize(repeating: 0, count: dim)
            continue
          }
          let source = queries + (row * pass.shape.queryHeads + head) * dim
          for x in 0..<dim { element[x] = source[x] * factor }
        }
      }
    }
  }

  private func scratch(_ count: Int) throws -> (
    buffer: HostBuffer, floats: UnsafeMutablePointer<Float>
  ) {
    guard let buffer = HostBuffer(byteCount: count * 4) else {
      throw ComputeError.outOfMemory(wantedBytes: count * 4, purpose: "shares of key blocks")
    }
    return (buffer, buffer.base.assumingMemoryBound(to: Float.self))
  }
}

/// log2(e).
private let log2OfE: Float = 1.442_695_04

/// Where the rows and groups of one pass lie.
private struct SharePass {
  let shape: AttentionShape
  let source: ShareSource
  let firstPosition: Int
  /// Rows of q.
  let queries: Int

  init(q: Tensor, firstPosition: Int, shape: AttentionShape, source: ShareSource) {
    self.shape = shape
    self.source = source
    self.firstPosition = firstPosition
    queries = q.rows
  }

  /// Positions of a group.
  var stride: Int { source.stride }
  /// Keys up to the last query.
  var keys: Int { firstPosition + queries }
  /// Elements of a group.
  var width: Int { stride * shape.headDim }
  var groupsOfBlock: Int { ShareRule.blockSize / stride }
  var firstBlock: Int { firstPosition / ShareRule.blockSize }
  var keyBlocks: Int { (keys - 1) / ShareRule.blockSize + 1 }
  var queryBlocks: Int { keyBlocks - firstBlock }
  var keyGroups: Int { (keys - 1) / stride + 1 }
  /// Floats between rows of scores: the kernel fills up to a multiple of 16.
  var scoreStride: Int { (keyGroups + 15) / 16 * 16 }

  /// The scored groups of queries from the first query block's first one on.
  var scoredGroups: Range<Int> {
    let first = firstBlock * source.scoredGroupsOfBlock
    return first..<max(first, keyGroups / source.queryStride)
  }

  /// The number of a scored group among all groups.
  func group(_ scored: Int) -> Int { source.positions(ofScoredGroup: scored).lowerBound / stride }

  /// Whether q has a row of a scored group.
  func hasRows(ofScored group: Int) -> Bool {
    source.positions(ofScoredGroup: group).overlaps(firstPosition..<keys)
  }

  /// The first group of keys that a group of queries sees through the model's window.
  func firstVisible(from group: Int) -> Int {
    guard let window = shape.slidingWindow else { return 0 }
    // (group - e) * stride - (stride - 1) < window.
    return max(0, group - (window + stride - 2) / stride)
  }

  /// The softmax of the products of one mean query with the means of the key blocks that it sees.
  ///
  /// - Parameter block: Counted from the first that q has a row of.
  func addPooledShares(
    query: UnsafePointer<Float>, keys: UnsafePointer<Float>, block: Int,
    to shares: UnsafeMutablePointer<Float>
  ) {
    let own = firstBlock + block
    let from = max(firstPosition, own * ShareRule.blockSize)
    let visible = shape.firstKey(visibleFrom: from) / ShareRule.blockSize...own
    var largest = -Float.infinity
    for other in visible {
      let key = keys + other * shape.headDim
      var sum = SIMD8<Float>(repeating: 0)
      var d = 0
      while d + 8 <= shape.headDim {
        var (a, b) = (SIMD8<Float>(), SIMD8<Float>())
        for lane in 0..<8 { (a[lane], b[lane]) = (query[d + lane], key[d + lane]) }
        sum += a * b
        d += 8
      }
      var dot = sum.sum()
      while d < shape.headDim {
        dot += query[d] * key[d]
        d += 1
      }
      shares[other] = dot * shape.scale
      largest = max(largest, shares[other])
    }
    var total: Float = 0
    for other in visible {
      shares[other] = expf(shares[other] - largest)
      total += shares[other]
    }
    for other in visible { shares[other] /= total }
  }
}
