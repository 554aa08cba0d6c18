internal import CKernels
public import Compute

/// Shares of key blocks by antidiagonals: products of groups of rows, which a BLAS computes, then a
/// softmax over groups of keys.
extension CPUBackend {
  /// Groups of queries whose scores are held at once: a batch sees the keys up to its last group.
  private static let groupsAtOnce = 128

  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    stride: Int
  ) throws -> Tensor {
    try layer.requireBlockShares(q, firstPosition, shape, heads, stride: stride)
    let pass = SharePass(q: q, firstPosition: firstPosition, shape: shape, stride: stride)
    let shares = try makeTensor(
      .float32, [heads.count, pass.queryBlocks, pass.keyBlocks],
      purpose: "shares of \(pass.keyBlocks) key blocks")
    let result = try shares.floats("blockShares")
    result.initialize(repeating: 0, count: shares.count)
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
      for first in Swift.stride(from: pass.firstGroup, to: pass.keyGroups, by: Self.groupsAtOnce) {
        let end = min(pass.keyGroups, first + Self.groupsAtOnce)
        load(queries: queries, head: heads[slot], groups: first..<end, pass, into: groups.floats)
        try multiply(
          groups.floats, rows: end - first, pass.width, keys.floats, columns: end,
          scores.floats, out: pass.scoreStride, false)
        addShares(
          scores.floats, groups: first..<end, pass,
          to: result + slot * pass.queryBlocks * pass.keyBlocks)
      }
    }
    return shares
  }

  /// The softmax of a batch's scores, into the shares of their query blocks. Batches begin and end at
  /// blocks.
  private func addShares(
    _ scores: UnsafeMutablePointer<Float>, groups: Range<Int>, _ pass: SharePass,
    to shares: UnsafeMutablePointer<Float>
  ) {
    let size = pass.groupsOfBlock
    let blocks = groups.lowerBound / size..<(groups.upperBound - 1) / size + 1
    pool.split(blocks.count) { part in
      for block in blocks.lowerBound + part.lowerBound..<blocks.lowerBound + part.upperBound {
        let present = (block * size..<(block + 1) * size).filter { pass.rows(of: $0).count > 0 }
        for group in present {
          kernels.group_shares(
            scores + (group - groups.lowerBound) * pass.scoreStride,
            Int64(pass.firstVisible(from: group)), Int64(group + 1), Int64(size),
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

  /// Groups of queries of one head as rows, last query first, scaled to base 2; rows that are not
  /// there are zeros.
  private func load(
    queries: UnsafePointer<Float>, head: Int, groups: Range<Int>, _ pass: SharePass,
    into target: UnsafeMutablePointer<Float>
  ) {
    let dim = pass.shape.headDim
    let factor = pass.shape.scale * log2OfE / Float(pass.stride)
    pool.split(groups.count, minimum: 8) { part in
      for index in part {
        let group = groups.lowerBound + index
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
  let stride: Int
  let firstPosition: Int
  /// Rows of q.
  let queries: Int

  init(q: Tensor, firstPosition: Int, shape: AttentionShape, stride: Int) {
    self.shape = shape
    self.stride = stride
    self.firstPosition = firstPosition
    queries = q.rows
  }

  /// Keys up to the last query.
  var keys: Int { firstPosition + queries }
  /// Elements of a group.
  var width: Int { stride * shape.headDim }
  var groupsOfBlock: Int { ShareRule.blockSize / stride }
  var firstBlock: Int { firstPosition / ShareRule.blockSize }
  var keyBlocks: Int { (keys - 1) / ShareRule.blockSize + 1 }
  var queryBlocks: Int { keyBlocks - firstBlock }
  /// The first group of the first query block.
  var firstGroup: Int { firstBlock * groupsOfBlock }
  var keyGroups: Int { (keys - 1) / stride + 1 }
  /// Floats between rows of scores: the kernel fills up to a multiple of 16.
  var scoreStride: Int { (keyGroups + 15) / 16 * 16 }

  /// The positions of a group that there are queries of.
  func rows(of group: Int) -> Range<Int> {
    (group * stride..<(group + 1) * stride).clamped(to: firstPosition..<keys)
  }

  /// The first group of keys that a group of queries sees through the model's window.
  func firstVisible(from group: Int) -> Int {
    guard let window = shape.slidingWindow else { return 0 }
    // (group - e) * stride - (stride - 1) < window.
    return max(0, group - (window + stride - 2) / stride)
  }
}
