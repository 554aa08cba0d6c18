internal import CUDASources
package import Compute

/// Indices of the host's making that stay on the device.
extension CUDABackend: IndexUploading {
  package func makeIndex(
    rows: Int, shape: AttentionShape, rowSetOfHead: [Int], rowSet: (Int) throws -> RowSet
  ) throws -> SparseIndex {
    let purpose = "an index over \(rows) keys"
    try require(
      rowSetOfHead.count == shape.queryHeads && rows > 0, "makeIndex",
      "\(rowSetOfHead.count) heads of \(shape.queryHeads), \(rows) rows")
    let tile = tileShape(headDim: shape.headDim)
    var lists: [Tensor] = []
    var sets: [Int: (plan: mi_head_plan, pairs: Int)] = [:]
    for number in Set(rowSetOfHead).sorted() {
      // An index of one row set, which is checked as every index is.
      let index = try TileIndex(
        firstPosition: 0, rows: rows, tile: tile, rowSets: [try rowSet(number)], rowSetOfHead: [0])
      sets[number] = (
        try UploadedIndex.plan(of: index.rowSets[0], on: index, backend: self, keeping: &lists),
        index.computedPairs(ofHead: 0, slidingWindow: shape.slidingWindow)
      )
    }
    let heads = rowSetOfHead.compactMap { sets[$0] }
    let index = CUDAIndex(
      plans: try uploaded(heads.map(\.plan), purpose: purpose),
      counts: try uploaded(heads.flatMap { [Int64($0.pairs), 0] }, purpose: purpose),
      lists: lists, mostColumns: heads.reduce(0) { max($0, Int($1.plan.column_count)) },
      heads: heads.count,
      grid: TileGrid(
        firstPosition: 0, rows: rows, tile: tile, slidingWindow: shape.slidingWindow),
      backend: self)
    return .resident(index)
  }
}
