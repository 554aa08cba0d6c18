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

  init(_ index: TileIndex, backend: CUDABackend) throws {
    var lists: [Tensor] = []
    let plansOfSets = try index.rowSets.map {
      try Self.plan(of: $0, on: index, backend: backend, keeping: &lists)
    }
    plans = try backend.uploaded(
      index.rowSetOfHead.map { plansOfSets[$0] }, purpose: "an index")
    mostColumns = plansOfSets.reduce(0) { max($0, Int($1.column_count)) }
    self.lists = lists
  }

  /// The plan of a row set, whose lists go to the device and are added to `lists`.
  static func plan(
    of rowSet: RowSet, on index: TileIndex, backend: CUDABackend, keeping lists: inout [Tensor]
  ) throws -> mi_head_plan {
    func upload(_ values: [Int32]) throws -> UInt64 {
      let tensor = try backend.uploaded(values, purpose: "an index")
      lists.append(tensor)
      return try backend.address(tensor, "index")
    }
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
}

/// Entries of pairs of tile rows: keyTile * 4 + flags, flag h for half h, key tiles descending.
package enum PairSteps {
  package static func steps(
    of tiles: TileRuns, on index: TileIndex
  ) -> (steps: [Int32], offsets: [Int32]) {
    var steps: [Int32] = []
    var offsets: [Int32] = [0]
    let rows = index.tileRows
    tiles.runs.withUnsafeBufferPointer { runs in
      func half(_ row: Int) -> Descent {
        guard rows.contains(row) else { return Descent(0..<0, of: runs) }
        let row = row - rows.lowerBound
        return Descent(Int(tiles.rowOffsets[row])..<Int(tiles.rowOffsets[row + 1]), of: runs)
      }
      for pair in rows.lowerBound / 2...(rows.upperBound - 1) / 2 {
        var halves = (half(pair * 2), half(pair * 2 + 1))
        // From the end of both lists: the highest key tile that either half has left.
        while true {
          let tile = max(halves.0.tile, halves.1.tile)
          guard tile >= 0 else { break }
          var flags: Int32 = 0
          if halves.0.tile == tile {
            flags |= 1
            halves.0.step(runs)
          }
          if halves.1.tile == tile {
            flags |= 2
            halves.1.step(runs)
          }
          steps.append(tile * 4 + flags)
        }
        offsets.append(Int32(steps.count))
      }
    }
    return (steps, offsets)
  }

  /// The tiles of a row's runs from the last to the first.
  private struct Descent {
    /// -1 behind the last one.
    private(set) var tile: Int32 = -1
    private var start: Int32 = 0
    private var runs: Range<Int>

    init(_ runs: Range<Int>, of all: UnsafeBufferPointer<KeyTileRun>) {
      self.runs = runs
      takeRun(all)
    }

    private mutating func takeRun(_ all: UnsafeBufferPointer<KeyTileRun>) {
      guard let last = runs.last else {
        tile = -1
        return
      }
      (start, tile) = (all[last].start, all[last].end - 1)
      runs = runs.lowerBound..<last
    }

    mutating func step(_ all: UnsafeBufferPointer<KeyTileRun>) {
      if tile > start {
        tile -= 1
      } else {
        takeRun(all)
      }
    }
  }
}
