extension TileRuns {
  /// The pairs of either; both lie on the same grid. O(runs + columns).
  public func union(_ other: TileRuns) -> TileRuns {
    precondition(rowOffsets.count == other.rowOffsets.count)
    var builder = TileRunsBuilder(tileRows: rowOffsets.count - 1)
    for row in 0..<rowOffsets.count - 1 {
      Self.merge(runs(ofRow: row), other.runs(ofRow: row), by: { $0.start < $1.start }) {
        builder.add(Int($0.start)..<Int($0.end))
      }
      builder.endRow()
    }
    var united: [Int32] = []
    united.reserveCapacity(columns.count + other.columns.count)
    Self.merge(columns[...], other.columns[...], by: <) {
      if united.last != $0 { united.append($0) }
    }
    return builder.tileRuns(columns: united)
  }

  /// Visits the elements of two ascending slices in ascending order.
  private static func merge<Element>(
    _ left: ArraySlice<Element>, _ right: ArraySlice<Element>,
    by precedes: (Element, Element) -> Bool, visit: (Element) -> Void
  ) {
    var left = left
    var right = right
    while let a = left.first, let b = right.first {
      if precedes(b, a) {
        visit(b)
        right.removeFirst()
      } else {
        visit(a)
        left.removeFirst()
      }
    }
    left.forEach(visit)
    right.forEach(visit)
  }
}
