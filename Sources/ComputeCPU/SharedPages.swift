internal import CSystemCalls
internal import Compute
internal import Synchronization

/// Address space for the keys and values of one sequence, whose first pages other sequences may have too.
///
/// A piece's pages lie wherever a sequence has the piece. They are given back once no sequence has it.
final class SharedPages: @unchecked Sendable {
  // Unchecked: the thread that uses the sequence looks at its pieces; tensors hold the addresses alone.
  /// What of the pages belongs together. Sequences that have it hold it.
  final class Piece: KeyValuePiece {
    let positions: Range<Int>
    let byteCount: Int

    fileprivate init(positions: Range<Int>, byteCount: Int) {
      self.positions = positions
      self.byteCount = byteCount
    }
  }

  /// The size of a sequence's keys and values.
  struct Extents: Equatable {
    /// Keys and values of each layer, and of each head.
    let stretches: Int
    /// Bytes of a position in one of them.
    let rowBytes: Int

    /// Positions after which a page ends, and a row: all pieces end at multiples of it.
    var unit: Int {
      var (a, b) = (Int(csystem_page_bytes()), rowBytes)
      while b != 0 { (a, b) = (b, a % b) }
      return Int(csystem_page_bytes()) / a
    }
  }

  let extents: Extents
  let division: KeyValuePieces
  let start: UnsafeMutableRawPointer
  private(set) var pieces: [Piece] = []
  /// Where pages end that were mapped together: only they can be mapped again at once. Ascending positions.
  private let runEnds: [Int]
  private let byteCount: Int
  /// Mappings of all sequences of this process: a system allows so many, and other memory needs some.
  private static let mappings = Atomic<Int>(0)
  private static let mostMappings = Int(csystem_most_mappings()) / 2
  private var mappingCount: Int { extents.stretches * runEnds.count }

  /// Whether another sequence can have the beginning too.
  var hasRoomForMappings: Bool {
    Self.mappings.load(ordering: .relaxed) + mappingCount + extents.stretches <= Self.mostMappings
  }

  /// - Parameter beginning: Pages of another sequence of these extents, and how many of its pieces are to be here too.
  /// - Throws: ``ComputeError/outOfMemory(wantedBytes:purpose:)`` where there is no address space.
  init(
    _ extents: Extents, division: KeyValuePieces, behind beginning: (SharedPages, pieces: Int)?,
    purpose: String
  ) throws {
    self.extents = extents
    self.division = division
    byteCount = extents.stretches * division.capacity * extents.rowBytes
    guard let start = csystem_map_pages(byteCount) else {
      throw ComputeError.outOfMemory(wantedBytes: byteCount, purpose: purpose)
    }
    self.start = start
    var shared: [Int] = []
    if let (other, count) = beginning, count > 0 {
      let end = other.division.ranges[count - 1].upperBound
      shared = other.runEnds.filter { $0 < end } + [end]
      pieces = Array(other.pieces[..<count])
    }
    runEnds = shared + [division.capacity]
    Self.mappings.add(mappingCount, ordering: .relaxed)
    if let (other, _) = beginning {
      for run in zip([0] + shared, shared).map({ $0..<$1 }) {
        let bytes = run.count * extents.rowBytes
        for stretch in 0..<extents.stretches {
          guard
            csystem_map_pages_again(
              address(stretch, position: run.lowerBound),
              other.address(stretch, position: run.lowerBound), bytes)
          else { throw ComputeError.outOfMemory(wantedBytes: bytes, purpose: purpose) }
        }
      }
    }
    pieces += division.ranges[pieces.count...].map {
      Piece(positions: $0, byteCount: $0.count * extents.stretches * extents.rowBytes)
    }
  }

  deinit {
    var own: [Range<Int>] = []
    var isShared = false
    for index in pieces.indices {
      if isKnownUniquelyReferenced(&pieces[index]) {
        own.append(pieces[index].positions)
      } else {
        isShared = true
      }
    }
    // Pages that lie elsewhere would keep all that were mapped with them.
    if isShared {
      for positions in own {
        for stretch in 0..<extents.stretches {
          csystem_drop_pages(
            address(stretch, position: positions.lowerBound), positions.count * extents.rowBytes)
        }
      }
    }
    csystem_unmap_pages(start, byteCount)
    Self.mappings.subtract(mappingCount, ordering: .relaxed)
  }

  /// Positions at the beginning in pieces that another sequence has as well.
  var sharedCount: Int { pieces.sharedEnd() }

  /// Where a position's row lies in a stretch.
  private func address(_ stretch: Int, position: Int) -> UnsafeMutableRawPointer {
    start + (stretch * division.capacity + position) * extents.rowBytes
  }
}
