internal import CUDASources
internal import Compute

/// An index that was built on the GPU: the heads' plans, what they point to, and the counts.
final class CUDAIndex: ResidentIndex, @unchecked Sendable {
  /// Lists that the plans point to.
  private let lists: [Tensor]
  private let counted: CUDAIndexCounts
  /// At least the columns of every head.
  let mostColumns: Int
  let grid: TileGrid
  private let backend: CUDABackend

  /// [queryHeads] HeadPlan.
  var plans: Tensor { counted.plans }
  var counts: any ResidentIndexCounts { counted }

  init(
    plans: Tensor, counts: Tensor, lists: [Tensor], mostColumns: Int, heads: Int,
    grid: TileGrid, backend: CUDABackend
  ) {
    counted = CUDAIndexCounts(plans: plans, pairs: counts, heads: heads, backend: backend)
    self.lists = lists
    self.mostColumns = mostColumns
    self.grid = grid
    self.backend = backend
  }

  func makingDense(_ dense: Set<Int>) throws -> any ResidentIndex {
    var changed = try counted.headPlans()
    var counts = try counted.pairCounts()
    let causalPairs = grid.causalPairs
    for head in dense where changed.indices.contains(head) {
      changed[head].kind = UploadedIndex.Kind.dense
      (counts[2 * head], counts[2 * head + 1]) = (Int64(causalPairs), 0)
    }
    return CUDAIndex(
      plans: try backend.uploaded(changed, purpose: "an index"),
      counts: try backend.uploaded(counts, purpose: "an index"), lists: lists + [plans],
      mostColumns: mostColumns, heads: counted.heads, grid: grid, backend: backend)
  }
}

/// What the device counted of an index: the plans themselves are small, what they point to is not.
struct CUDAIndexCounts: ResidentIndexCounts {
  /// [queryHeads] HeadPlan.
  let plans: Tensor
  /// [queryHeads][2] 64-bit integers: pairs in tiles, pairs of single columns.
  let pairs: Tensor
  let heads: Int
  let backend: CUDABackend

  func computedPairs() throws -> [Int] {
    let counts = try pairCounts()
    return (0..<heads).map { Int(counts[2 * $0] + counts[2 * $0 + 1]) }
  }

  func isDense() throws -> [Bool] {
    try headPlans().map { $0.kind == UploadedIndex.Kind.dense }
  }

  fileprivate func pairCounts() throws -> [Int64] {
    try backend.values(at: backend.address(pairs, "index"), count: 2 * heads)
  }

  fileprivate func headPlans() throws -> [mi_head_plan] {
    try backend.values(at: backend.address(plans, "index"), count: heads)
  }
}
