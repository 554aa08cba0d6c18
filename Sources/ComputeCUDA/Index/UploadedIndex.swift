internal import CUDASources
package import Compute

/// An index that was made on the host, in the form that the attention kernel reads.
///
/// A thread block computes a pair of tile rows; an entry names a key tile of the pair and which of
/// the two compute it, the nearest tile first.
struct UploadedIndex {
  /// [queryHeads] HeadPlan, and what they point to.
  let plans: Tensor
  /// The most columns of any head.
  let mostColumns: Int
  private let lists: [Tensor]

  /// HeadPlan's kinds.
  enum Kind {
    static let dense: Int32 = 0
    static let bands: Int32 = 1
    static let rows: Int32 = 2
  }

  init(_ index: SparseIndex, backend: CUDABackend) throws {
    var lists: [Tensor] = []
    func upload(_ values: [Int32]) throws -> UInt64 {
      let tensor = try backend.uploaded(values, purpose: "an index")
      lists.append(tensor)
      return try backend.address(tensor, "index")
    }
    let plansOfSets = try index.rowSets.map { rowSet -> mi_head_plan in
      var plan = mi_head_plan()
      plan.dense_from = .max
      guard case .tiles(let tiles) = rowSet else { return plan }
      plan.kind = Kind.rows
      let (steps, offsets) = PairSteps.steps(of: tiles, on: index)
      plan.steps = try upload(steps)
      plan.step_offsets = try upload(offsets)
      plan.step_count = Int32(steps.count)
      plan.columns = try upload(tiles.columns)
      plan.column_count = Int32(tiles.columns.count)
      return plan
    }
    plans = try backend.uploaded(
      index.rowSetOfHead.map { plansOfSets[$0] }, purpose: "an index")
    mostColumns = plansOfSets.reduce(0) { max($0, Int($1.column_count)) }
    self.lists = lists
  }
}

/// Entries of pairs of tile rows: keyTile * 4 + flags, flag h for half h, key tiles descending.
package enum PairSteps {
  package static func steps(
    of tiles: TileRuns, on index: SparseIndex
  ) -> (steps: [Int32], offsets: [Int32]) {
    var steps: [Int32] = []
    var offsets: [Int32] = [0]
    let rows = index.tileRows
    for pair in rows.lowerBound / 2...(rows.upperBound - 1) / 2 {
      var runs = [pair * 2, pair * 2 + 1].map { row in
        rows.contains(row) ? Array(tiles.runs(ofRow: row - rows.lowerBound)) : []
      }
      // From the end of both lists: the highest key tile that either half has left.
      while let tile = runs.compactMap({ $0.last.map { $0.end - 1 } }).max() {
        var flags: Int32 = 0
        for half in 0..<2 {
          guard var run = runs[half].last, run.end - 1 == tile else { continue }
          flags |= 1 << Int32(half)
          run.end -= 1
          if run.start == run.end {
            runs[half].removeLast()
          } else {
            runs[half][runs[half].count - 1] = run
          }
        }
        steps.append(tile * 4 + flags)
      }
      offsets.append(Int32(steps.count))
    }
    return (steps, offsets)
  }
}
