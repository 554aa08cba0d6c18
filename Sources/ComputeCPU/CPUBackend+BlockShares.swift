internal import CKernels
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Shares of key blocks: products of groups of rows, or of their means, which a BLAS computes, then a
/// softmax over groups of keys.
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
    let queries = try q.floats("blockShares")
    let keys = try scratch(pass.keyGroups * pass.width)
    let groups = try scratch(Self.groupsAtOnce * pass.width)
    let scores = try scratch(Self.groupsAtOnce * pass.scoreStride)
    let sinks = try layer.sinkLogits(of: shape).map { try $0.floats("blockShares") }
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
          sink: sinks.map { pass.groupScore(ofSink: $0[heads[slot]]) },
          to: result + slot * pass.queryBlocks * pass.keyBlocks)
      }
    }
    return shares
  }

  /// The softmax of a batch's scores, into the shares of their query blocks. Batches begin and end at
  /// blocks.
  private func addShares(
    _ scores: UnsafeMutablePointer<Float>, groups: Range<Int>, _ pass: SharePass, sink: Float?,
    to shares: UnsafeMutablePointer<Float>
  ) {
    let size = pass.source.scoredGroupsOfBlock
    let blocks = groups.lowerBound / size..<(groups.upperBound - 1) / size + 1
    pool.split(blocks.count) { part in
      for block in blocks.lowerBound + part.lowerBound..<blocks.lowerBound + part.upperBound {
        let present = (block * size..<(block + 1) * size).filter {
          !pass.rows(ofScored: $0).isEmpty
        }
        for scored in present {
          let group = pass.group(scored)
          func add(_ sink: UnsafePointer<Float>?) {
            kernels.group_shares(
              scores + (scored - groups.lowerBound) * pass.scoreStride,
              Int64(pass.firstVisible(from: group)), Int64(group + 1), Int64(pass.groupsOfBlock),
              sink, 1 / Float(present.count),
              shares + (block - pass.firstBlock) * pass.keyBlocks)
          }
          if let sink { withUnsafePointer(to: sink) { add($0) } } else { add(nil) }
        }
      }
    }
  }

  /// The groups of keys of one head as rows: the keys as they lie, zeros behind the last one; or their means.
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
    if case .means = pass.source {
      pool.split(pass.keyGroups, minimum: 8) { part in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: dim) { row in
          guard let row = row.baseAddress else { return }
          for group in part {
            let mean = groups + group * dim
            mean.initialize(repeating: 0, count: dim)
            let positions = group * pass.stride..<min((group + 1) * pass.stride, pass.keys)
            for position in positions {
              kernels.to_float32(
                source + position * dim * layer.keys.type.byteCount, type, row, Int64(dim))
              for x in 0..<dim { mean[x] += row[x] }
            }
            for x in 0..<dim { mean[x] /= Float(positions.count) }
          }
        }
      }
      return
    }
    pool.split(pass.keys * dim, minimum: 1 << 14) { range in
      kernels.to_float32(
        source + range.lowerBound * layer.keys.type.byteCount, type, groups + range.lowerBound,
        Int64(range.count))
    }
    (groups + pass.keys * dim).initialize(
      repeating: 0, count: pass.keyGroups * pass.width - pass.keys * dim)
  }

  /// Scored groups of queries of one head as rows, last query first, or their means; scaled to base 2.
  /// Rows that are not there are zeros.
  private func load(
    queries: UnsafePointer<Float>, head: Int, groups: Range<Int>, _ pass: SharePass,
    into target: UnsafeMutablePointer<Float>
  ) {
    let dim = pass.shape.headDim
    if case .means = pass.source {
      let factor = pass.shape.scale * log2OfE
      pool.split(groups.count, minimum: 8) { part in
        for index in part {
          let mean = target + index * dim
          mean.initialize(repeating: 0, count: dim)
          let rows = pass.rows(ofScored: groups.lowerBound + index)
          for row in rows {
            let source = queries + (row * pass.shape.queryHeads + head) * dim
            for x in 0..<dim { mean[x] += source[x] }
          }
          for x in 0..<dim { mean[x] *= factor / Float(max(1, rows.count)) }
        }
      }
      return
    }
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
let log2OfE: Float = 1.442_695_04

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
  /// Elements of a row that is multiplied: a group, or its mean.
  var width: Int { if case .means = source { shape.headDim } else { stride * shape.headDim } }
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

  /// The rows of q in a scored group.
  func rows(ofScored group: Int) -> Range<Int> {
    let positions = source.positions(ofScoredGroup: group).clamped(to: firstPosition..<keys)
    return positions.lowerBound - firstPosition..<positions.upperBound - firstPosition
  }

  /// What a sink scores beside groups, base 2: a group's score stands for so many keys, a sink is one.
  func groupScore(ofSink sink: Float) -> Float { (sink - logf(Float(stride))) * log2OfE }

  /// The first group of keys that a group of queries sees through the model's window.
  func firstVisible(from group: Int) -> Int {
    guard let window = shape.slidingWindow else { return 0 }
    // (group - e) * stride - (stride - 1) < window.
    return max(0, group - (window + stride - 2) / stride)
  }
}
