internal import CUDASources
internal import Compute

/// An index that was built on the GPU: the heads' plans, what they point to, and the counts.
final class CUDAIndex: ResidentIndex, @unchecked Sendable {
  /// [queryHeads] HeadPlan.
  let plans: Tensor
  /// Lists that the plans point to.
  private let lists: [Tensor]
  /// [queryHeads][2] 64-bit integers: pairs in tiles, pairs of single columns.
  private let counts: Tensor
  /// At least the columns of every head.
  let mostColumns: Int
  private let heads: Int
  /// Pairs of a head that computes all of them.
  private let causalPairs: Int
  private let backend: CUDABackend

  init(
    plans: Tensor, counts: Tensor, lists: [Tensor], mostColumns: Int, heads: Int,
    causalPairs: Int, backend: CUDABackend
  ) {
    self.plans = plans
    self.counts = counts
    self.lists = lists
    self.mostColumns = mostColumns
    self.heads = heads
    self.causalPairs = causalPairs
    self.backend = backend
  }

  private func pairCounts() throws -> [Int64] {
    try backend.values(at: backend.address(counts, "index"), count: 2 * heads)
  }

  func computedPairs() throws -> [Int] {
    let counts = try pairCounts()
    return (0..<heads).map { Int(counts[2 * $0] + counts[2 * $0 + 1]) }
  }

  func isDense() throws -> [Bool] {
    try headPlans().map { $0.kind == UploadedIndex.Kind.dense }
  }

  private func headPlans() throws -> [mi_head_plan] {
    try backend.values(at: backend.address(plans, "index"), count: heads)
  }

  func makingDense(_ dense: Set<Int>) throws -> any ResidentIndex {
    var changed = try headPlans()
    var counts = try pairCounts()
    for head in dense where changed.indices.contains(head) {
      changed[head].kind = UploadedIndex.Kind.dense
      (counts[2 * head], counts[2 * head + 1]) = (Int64(causalPairs), 0)
    }
    return CUDAIndex(
      plans: try backend.uploaded(changed, purpose: "an index"),
      counts: try backend.uploaded(counts, purpose: "an index"), lists: lists + [plans],
      mostColumns: mostColumns, heads: heads, causalPairs: causalPairs, backend: backend)
  }
}
