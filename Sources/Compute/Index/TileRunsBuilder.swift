/// Collects the runs of one tile row after another; runs that touch or overlap become one.
///
/// O(1) for each run added. Runs of a row are added in ascending order of their starts.
struct TileRunsBuilder {
  private(set) var rowOffsets: [Int32] = [0]
  private(set) var runs: [KeyTileRun] = []
  private var rowStart = 0

  init(tileRows: Int) {
    rowOffsets.reserveCapacity(tileRows + 1)
  }

  /// Adds `tiles` to the current row; nothing if it is empty.
  mutating func add(_ tiles: Range<Int>) {
    guard !tiles.isEmpty else { return }
    if runs.count > rowStart, Int(runs[runs.count - 1].end) >= tiles.lowerBound {
      runs[runs.count - 1].end = max(runs[runs.count - 1].end, Int32(tiles.upperBound))
    } else {
      runs.append(KeyTileRun(start: Int32(tiles.lowerBound), end: Int32(tiles.upperBound)))
    }
  }

  /// Ends the current row and begins the next.
  mutating func endRow() {
    rowStart = runs.count
    rowOffsets.append(Int32(rowStart))
  }

  func tileRuns(columns: [Int32]) -> TileRuns {
    TileRuns(rowOffsets: rowOffsets, runs: runs, columns: columns)
  }
}

extension Range where Bound == Int {
  /// The part of the range inside `bounds`; empty where they do not meet.
  func clipped(to bounds: Range<Int>) -> Range<Int> {
    let low = Swift.max(lowerBound, bounds.lowerBound)
    return low..<Swift.max(low, Swift.min(upperBound, bounds.upperBound))
  }
}

/// Quotient rounded towards minus infinity; `divisor` is positive.
func floorDivide(_ dividend: Int, by divisor: Int) -> Int {
  dividend >= 0 ? dividend / divisor : -((divisor - 1 - dividend) / divisor)
}
