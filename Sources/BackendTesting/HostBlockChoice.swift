public import Compute

/// A choice of blocks that a backend makes on the host, and that passes for a device's.
public final class HostBlockChoice: ResidentBlockChoice, @unchecked Sendable {
  public let request: ShareRequest
  private let base: any Backend
  /// By query head: for each query block, the shares of the key blocks up to its own.
  private var shares: [Int: [[Float]]] = [:]

  public init(_ request: ShareRequest, base: any Backend) {
    self.request = request
    self.base = base
  }

  public func add(_ q: Tensor, firstPosition position: Int, layer: KeyValueLayer) throws {
    let heads = request.heads.map(\.head)
    let found = try base.blockShares(
      q: q, firstPosition: position, layer: layer, shape: request.shape, heads: heads,
      source: request.source)
    let keyBlocks = found.shape[2]
    let first = position / ShareRule.blockSize
    for (index, head) in heads.enumerated() {
      let values = try base.read(found.slice(rows: index..<index + 1))
      shares[head, default: []] += (0..<found.shape[1]).map {
        Array(values[$0 * keyBlocks..<$0 * keyBlocks + first + $0 + 1])
      }
    }
  }

  /// The blocks of a head that was asked for.
  public func blocks(of head: ShareRequest.Head) -> SelectedBlocks {
    let first = request.firstPosition / ShareRule.blockSize
    var offsets: [Int32] = [0]
    var blocks: [Int32] = []
    for (block, shares) in (shares[head.head] ?? []).enumerated() {
      let isDense = (first + block) * ShareRule.blockSize >= head.denseFrom ?? .max
      blocks += isDense ? Array(0...Int32(first + block)) : head.rule.blocks(shares[...])
      offsets.append(Int32(blocks.count))
    }
    return SelectedBlocks(
      blockSize: ShareRule.blockSize, blockOffsets: offsets, keyBlocks: blocks)
  }

  /// What a head computes in place of its blocks; nil: its blocks.
  ///
  /// - Parameter columnSums: [keys], of the chunk's last rows.
  public func alternative(
    of head: ShareRequest.Head, columnSums: [Float]
  ) -> BandAlternative? {
    guard let alternative = head.alternative,
      alternative.isTaken(columnSums: columnSums, shares: shares[head.head]?.last ?? [])
    else { return nil }
    return alternative
  }
}
