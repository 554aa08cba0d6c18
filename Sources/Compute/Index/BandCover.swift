/// Which bands of keys cover a head's offsets: for the tile row at position R (a multiple of 64) the band that
/// starts at o is the keys R - o ..< R - o + 64.
///
/// Row r of a tile row meets offset s at key r - s, so s is computed where every distance s - 63 ... s from R
/// lies in a band. This is the definition; `plan.cu` implements it on the GPU, where starts that are not
/// multiples of 64 save up to a third of the tiles of runs of offsets.
package enum BandCover {
  package static let extent = 64

  /// Times of the device's attention in one unit, by which a cover is chosen.
  package struct Times: Sendable, Hashable {
    /// Of a half of a pair of tile rows against 64 keys.
    package var product: Int
    /// Of loading 64 keys and values.
    package var load: Int

    package init(product: Int, load: Int) {
      self.product = product
      self.load = load
    }
  }

  /// The fewest bands: each starts as late as the next uncovered offset allows.
  ///
  /// - Parameter offsets: Ascending, disjoint, within 0 ..< keys.
  /// - Returns: Starts, ascending, at least 64 apart; the first is 0, the tile on the diagonal.
  package static func free(_ offsets: [Range<Int>]) -> [Int] {
    var starts = [0]
    for range in offsets {
      for offset in range where offset > starts[starts.count - 1] {
        starts.append(max(offset, starts[starts.count - 1] + extent))
      }
    }
    return starts
  }

  /// Bands at multiples of 64: the tiles that some row of a tile row meets at an offset.
  package static func aligned(_ offsets: [Range<Int>], keys: Int) -> [Int] {
    let last = (keys - 1) / extent * extent
    var starts = [0]
    for range in offsets {
      for offset in range {
        for start in [offset / extent * extent, (offset + extent - 1) / extent * extent]
        where start > starts[starts.count - 1] && start <= last {
          starts.append(start)
        }
      }
    }
    return starts
  }

  /// The cover that attention computes faster.
  package static func chosen(_ offsets: [Range<Int>], keys: Int, times: Times) -> [Int] {
    let covers = (free: free(offsets), aligned: aligned(offsets, keys: keys))
    return time(of: covers.free, keys: keys, times) < time(of: covers.aligned, keys: keys, times)
      ? covers.free : covers.aligned
  }

  /// Halves of a pair share a load where one band follows the other without a gap.
  private static func time(of starts: [Int], keys: Int, _ times: Times) -> Int {
    var products = 0
    var loads = 0
    for (index, start) in starts.enumerated() {
      let rows = max(0, keys - start)
      let isFollowed = index + 1 < starts.count && starts[index + 1] == start + extent
      products += rows
      loads += isFollowed ? rows : 2 * rows
    }
    return max(2 * products * times.product, loads * times.load)
  }

  /// The row set of these bands, the columns and the dense rows, on tiles of 64 rows and one key.
  package static func rowSet(
    starts: [Int], columns: [Int32], denseFrom: Int?, on grid: TileGrid
  ) -> RowSet {
    var builder = TileRunsBuilder(tileRows: grid.tileRows.count)
    for tileRow in grid.tileRows {
      let visible = grid.visibleTiles(ofTileRow: tileRow)
      let first = tileRow * extent
      if let denseFrom, grid.positions(ofTileRow: tileRow).upperBound > denseFrom {
        builder.add(visible)
      } else {
        for start in starts.reversed() {
          builder.add((first - start..<first - start + extent).clamped(to: visible))
        }
      }
      builder.endRow()
    }
    return .tiles(builder.tileRuns(columns: columns.filter { Int($0) < grid.keys }))
  }
}
