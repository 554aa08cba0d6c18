internal import CUDASources
public import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Heads that choose key blocks by their shares (`antidiagonal.cu`, `pooled_shares.cu`, `shares.cu`).
extension CUDABackend {
  public func makeBlockChoice(_ request: ShareRequest) throws -> any ResidentBlockChoice {
    try CUDABlockChoice(request, backend: self)
  }

  /// The shares themselves, for indices that are made on the host: sums are the device's, and are put
  /// together here.
  public func blockShares(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int],
    source: ShareSource
  ) throws -> Tensor {
    try layer.requireBlockShares(q, firstPosition, shape, heads, source)
    let request = ShareRequest(
      heads: heads.map { ShareRequest.Head(head: $0, rule: ShareRule(share: 1)) }, source: source,
      firstPosition: firstPosition, rows: q.rows, shape: shape)
    let choice = try CUDABlockChoice(request, backend: self)
    let (queryBlocks, keyBlocks) = (request.queryBlocks, request.keyBlocks)
    var shares = [Float](repeating: 0, count: heads.count * queryBlocks * keyBlocks)
    let sizes = choice.sizes
    let groups = sizes.groupsOfBlock
    // The score of a group stands for all of its keys, and a sink is one.
    let sinks = try layer.sinkLogits(of: shape).map { sinks in
      try read(sinks).map { ($0 - logf(Float(source.stride))) * ShareLaunch.log2OfE }
    }
    try choice.forParts(of: q, firstPosition: firstPosition, layer: layer) { part in
      let sums = try read(part.sums)
      let maxima = try read(part.maxima)
      for slot in heads.indices {
        for block in part.blocks {
          for group in 0..<groups {
            let rows = source.positions(ofScoredGroup: block * groups + group)
            guard rows.overlaps(firstPosition..<part.end) else { continue }
            let row = slot * part.groups + (block - part.blocks.lowerBound) * groups + group
            // Score tiles outside the window of all their rows are left out.
            let top = max(firstPosition, block * ShareRule.blockSize)
            let hidden = max(0, top - (shape.slidingWindow ?? top + 1) + 1)
            let visible = min(block, hidden / ShareRule.blockSize)...block
            let tile = { (key: Int) in maxima[row * sizes.keyTiles + key / source.stride] }
            let sink = sinks?[heads[slot]] ?? -.infinity
            let largest = max(visible.map(tile).max() ?? 0, sink)
            let masses = visible.map {
              Double(sums[row * sizes.sumStride + $0]) * exp2(Double(tile($0) - largest))
            }
            let total =
              masses.reduce(exp2(Double(sink - largest)), +)
              * Double(choice.validGroups(ofBlock: block))
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

/// Geometry of `antidiagonal.cu`, `pooled_shares.cu` and `shares.cu`.
package enum ShareLaunch {
  package static let scores = "antidiagonal.cu"
  package static let pooled = "pooled_shares.cu"
  package static let file = "shares.cu"
  /// The kernel that chooses where no query block of a part sees more key blocks, and the query blocks that a
  /// thread block of it chooses for.
  package static func choice(keyBlocks: Int) -> (kernel: String, queryBlocks: Int) {
    guard let most = choices.first(where: { keyBlocks <= $0 }) else { return ("select_shares", 1) }
    return ("select_shares_\(most)", threads / 32)
  }

  /// The most key blocks of the kernels whose warps choose for a query block each.
  package static let choices = [256, 1024, 2048]

  /// Of antidiagonal_scores, pooled_scores and select_shares.
  package static let threads = 256
  /// Query blocks of a thread block of pooled_scores.
  package static let pooledQueries = 64
  package static let countThreads = 1024
  package static let listThreads = 128
  /// Four stages of two tiles of 128 rows, 40 elements of two bytes apart.
  package static let scoreBytes = 4 * 2 * 128 * 40 * 2
  /// log2(e): scores are to base 2 on the device.
  static let log2OfE: Float = 1.442_695_04
  /// Key blocks that select_shares has bits for.
  package static let mostKeyBlocks = 2048 / 2 * 32
}
