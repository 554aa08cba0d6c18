/// Which pairs of pieces merge, in which order, and into what: ids packed into words of 64 bits, so that a
/// lookup touches one cache line.
struct MergeTable: Sendable {
  /// The rank of a pair that does not merge.
  static let none = UInt32.max
  /// The largest number of merges: ranks are packed into 24 bits.
  static let largestCount = 1 << 24 - 1

  /// left id << 44 | right id << 24 | rank, or `free`.
  private var slots: [UInt64]
  private var shift: UInt64
  private var count = 0
  /// Odd and random, so that no file can be made whose pairs collide.
  private let factor = UInt64.random(in: .min ... .max) | 1
  /// By rank: what the pair becomes; `none` where pairs of this rank become different pieces.
  private(set) var mergedIDs: [UInt32] = []
  /// What the pairs of such ranks become.
  private var mergedPairs: [UInt64: UInt32] = [:]

  private static let free = UInt64.max

  init(expectedCount: Int) {
    var bits: UInt64 = 6
    while 1 << bits < expectedCount * 2 { bits += 1 }
    slots = [UInt64](repeating: Self.free, count: 1 << Int(bits))
    shift = 64 - bits
    mergedIDs.reserveCapacity(expectedCount)
  }

  @inline(__always)
  private static func key(_ left: UInt32, _ right: UInt32) -> UInt64 {
    UInt64(left) << 20 | UInt64(right)
  }

  @inline(__always)
  private static func slot(of key: UInt64, factor: UInt64, shift: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* factor) >> shift)
  }

  /// Gives the next rank to a pair; a repeated pair keeps the later rank, as in Hugging Face's map.
  mutating func append(_ left: UInt32, _ right: UInt32, merged: UInt32) {
    let rank = UInt64(mergedIDs.count)
    mergedIDs.append(merged)
    insert(Self.key(left, right) << 24 | rank)
    if count * 2 > slots.count { grow() }
  }

  /// Gives the next rank to pairs that merge whichever comes first in the text: those of one score.
  mutating func append(_ pairs: [(left: UInt32, right: UInt32, merged: UInt32)]) {
    guard let first = pairs.first else { return }
    let rank = UInt64(mergedIDs.count)
    let isOnePiece = pairs.allSatisfy { $0.merged == first.merged }
    mergedIDs.append(isOnePiece ? first.merged : Self.none)
    for pair in pairs {
      insert(Self.key(pair.left, pair.right) << 24 | rank)
      if !isOnePiece { mergedPairs[Self.key(pair.left, pair.right)] = pair.merged }
      if count * 2 > slots.count { grow() }
    }
  }

  /// Leaves out the next rank: a merge of pieces that no text can give.
  mutating func skipRank() { mergedIDs.append(0) }

  private mutating func insert(_ word: UInt64) {
    let mask = slots.count - 1
    var slot = Self.slot(of: word >> 24, factor: factor, shift: shift)
    while slots[slot] != Self.free {
      if slots[slot] >> 24 == word >> 24 {
        slots[slot] = word
        return
      }
      slot = (slot + 1) & mask
    }
    slots[slot] = word
    count += 1
  }

  private mutating func grow() {
    let old = slots
    slots = [UInt64](repeating: Self.free, count: old.count * 2)
    shift -= 1
    count = 0
    for word in old where word != Self.free { insert(word) }
  }

  /// Looks pairs up without bounds checks, for the length of one call.
  struct Lookup {
    fileprivate let slots: UnsafePointer<UInt64>
    fileprivate let mask: Int
    fileprivate let factor: UInt64
    fileprivate let shift: UInt64
    fileprivate let mergedIDs: UnsafePointer<UInt32>
    fileprivate let mergedPairs: [UInt64: UInt32]

    /// The rank of a pair, or `MergeTable.none`.
    @inline(__always)
    func rank(_ left: UInt32, _ right: UInt32) -> UInt32 {
      let key = MergeTable.key(left, right)
      var slot = MergeTable.slot(of: key, factor: factor, shift: shift)
      while true {
        let word = slots[slot]
        if word >> 24 == key { return UInt32(truncatingIfNeeded: word & 0xFF_FFFF) }
        // A free slot has all bits set, which no key has: ids are below 2^20 - 1.
        if word == MergeTable.free { return MergeTable.none }
        slot = (slot + 1) & mask
      }
    }

    /// What a pair of this rank becomes.
    @inline(__always)
    func merged(_ rank: UInt32, _ left: UInt32, _ right: UInt32) -> UInt32 {
      let merged = mergedIDs[Int(rank)]
      return merged != MergeTable.none ? merged : mergedPairs[MergeTable.key(left, right)] ?? left
    }
  }

  /// Runs `body` with the table at hand.
  func withLookup<Result>(_ body: (Lookup) -> Result) -> Result {
    slots.withUnsafeBufferPointer { slots in
      mergedIDs.withUnsafeBufferPointer { mergedIDs in
        // `mergedIDs` may be empty; then no rank is ever found and the pointer is not used.
        let merged =
          mergedIDs.baseAddress
          ?? UnsafeRawPointer(slots.baseAddress.unsafelyUnwrapped).assumingMemoryBound(
            to: UInt32.self)
        return body(
          Lookup(
            slots: slots.baseAddress.unsafelyUnwrapped, mask: slots.count - 1, factor: factor,
            shift: shift, mergedIDs: merged, mergedPairs: mergedPairs))
      }
    }
  }
}
