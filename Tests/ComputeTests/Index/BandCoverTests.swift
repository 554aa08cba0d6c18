import Compute
import Testing

@Suite struct BandCoverTests {
  /// Runs, single offsets and everything, in many arrangements.
  private static let selections: [[Range<Int>]] = {
    var random = SeededGenerator(seed: 5)
    var all: [[Range<Int>]] = [[], [0..<1], [0..<2000], [1999..<2000], [64..<128], [63..<127]]
    for density in [1, 3, 10, 40] {
      for length in [1, 30, 64, 65, 150] {
        var ranges: [Range<Int>] = []
        var next = 0
        while next < 2000 {
          let start = next + Int.random(in: 1...2 * 2000 / density / 10 + 1, using: &random)
          guard start + length <= 2000 else { break }
          ranges.append(start..<start + length)
          next = start + length
        }
        all.append(ranges)
      }
    }
    return all
  }()

  @Test func `every row finds every offset in just one band, wherever its tile row begins`() {
    for offsets in Self.selections {
      for starts in [BandCover.free(offsets), BandCover.aligned(offsets, keys: 2000)] {
        #expect(starts.first == 0)
        #expect(zip(starts, starts.dropFirst()).allSatisfy { $0 + 64 <= $1 })
        for row in 0..<64 {
          for offset in offsets.joined() where offset % 7 == row % 7 {
            // Distance of the row's key from the tile row's first position.
            let distance = offset - row
            let bands = starts.filter { distance <= $0 && $0 < distance + 64 }
            // Aligned bands behind the last tile row's first key are left out.
            #expect(
              bands.count == 1 || (bands.isEmpty && distance > 1984), "\(offset) in \(offsets)")
          }
        }
      }
    }
  }

  @Test func `free bands are never more than aligned ones, a third fewer for lone runs of 64`() {
    for offsets in Self.selections {
      let free = BandCover.free(offsets)
      let aligned = BandCover.aligned(offsets, keys: 2000)
      #expect(free.filter { $0 < 1985 }.count <= aligned.count)
      #expect(aligned.allSatisfy { $0 % 64 == 0 })
    }
    let runs = [300..<364, 700..<764, 1500..<1564]
    #expect(BandCover.free(runs).count == 1 + 6)
    #expect(BandCover.aligned(runs, keys: 2000).count == 1 + 9)
    #expect(
      BandCover.chosen(runs, keys: 2000, times: .init(product: 43, load: 61))
        == BandCover.free(runs))
    // A lone offset takes one free band or two aligned ones, which share loads with the diagonal's.
    let lone = [100..<101]
    #expect(
      BandCover.chosen(lone, keys: 2000, times: .init(product: 1, load: 0)) == BandCover.free(lone))
    #expect(
      BandCover.chosen(lone, keys: 2000, times: .init(product: 0, load: 1))
        == BandCover.aligned(lone, keys: 2000))
  }
}
