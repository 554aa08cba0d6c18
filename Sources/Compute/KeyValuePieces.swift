/// Where the memory of a sequence's keys and values is divided, so that other sequences can have the beginning of it.
///
/// A piece is a run of positions in all layers and heads. It is shared as a whole or not at all.
package struct KeyValuePieces: Equatable {
  /// How memory is divided that is not another sequence's.
  package enum Division: Equatable {
    /// About so many pieces of one size: where a piece costs little.
    case equal(Int)
    /// A piece of about so many positions, and one for the rest: where each piece costs time. Seven eighths if they are
    /// all positions, or none.
    case bulkAndRest(Int)
  }

  /// The positions of each piece, in order and without gaps. The last ends at a multiple of the unit.
  package let ranges: [Range<Int>]

  /// - Parameters:
  ///   - shared: Where the pieces end that come from another sequence; they are the first ones here.
  ///   - capacity: Positions that are needed.
  ///   - unit: Positions of the smallest piece; all ends are multiples of it.
  ///   - division: How the rest is divided.
  package init(behind shared: [Int] = [], capacity: Int, unit: Int, division: Division) {
    let first = (shared.last ?? 0) / unit
    let units = max(0, (capacity + unit - 1) / unit - first)
    let own: [Int]
    switch division {
    case .equal(let count):
      let size = max(1, (units + count - 1) / count)
      own = stride(from: size, to: units, by: size) + [units]
    case .bulkAndRest(let positions):
      let bulk = positions / unit - first
      own = [0..<units ~= bulk && bulk > 0 ? bulk : units * 7 / 8, units]
    }
    var ends = shared
    for end in own.map({ (first + $0) * unit }) where end > ends.last ?? 0 { ends.append(end) }
    ranges = zip([0] + ends, ends).map { $0..<$1 }
  }

  /// Positions that there is memory for.
  package var capacity: Int { ranges.last?.upperBound ?? 0 }

  /// How many pieces the first `count` positions fill.
  package func filled(by count: Int) -> Int { ranges.prefix { $0.upperBound <= count }.count }

  /// Where they end.
  package func filledEnd(by count: Int) -> Int {
    ranges.prefix(filled(by: count)).last?.upperBound ?? 0
  }
}

/// A piece, as the sequences that have it hold it.
package protocol KeyValuePiece: KeyValueMemory {
  var positions: Range<Int> { get }
}

extension Array where Element: KeyValuePiece {
  /// Where the pieces end that somebody else holds too: they are the first ones.
  package mutating func sharedEnd() -> Int {
    for index in indices.reversed() where !isKnownUniquelyReferenced(&self[index]) {
      return self[index].positions.upperBound
    }
    return 0
  }
}
