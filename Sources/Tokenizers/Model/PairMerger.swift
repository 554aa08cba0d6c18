/// Byte-pair merging: of all neighbours that merge, always those of the lowest rank, the leftmost first.
///
/// The ranks of all neighbours stand at the leaves of a tournament tree, so finding the next pair takes no
/// time and a merge takes three walks to the root: O(n log n) for n symbols. Long inputs are merged
/// in windows that stay in the first-level cache (see `PairMerger+Windows.swift`).
///
/// Not thread-safe: each encoding call has its own.
final class PairMerger {
  private var capacity = 0
  /// `rank << 32 | position`, a binary tree of minima with its root at 1 and its leaves at `width` and up.
  private var tree = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
  private var ids = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
  private var next = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
  private var previous = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

  private static let nothing = UInt64.max

  /// The largest number of symbols that are merged without the tree.
  private static var fewSymbols: Int { 20 }

  deinit {
    tree.deallocate()
    ids.deallocate()
    next.deallocate()
    previous.deallocate()
  }

  private func reserve(_ count: Int) {
    guard count > capacity else { return }
    capacity = 32
    while capacity < count { capacity *= 2 }
    tree.deallocate()
    ids.deallocate()
    next.deallocate()
    previous.deallocate()
    tree = .allocate(capacity: capacity * 2)
    ids = .allocate(capacity: capacity)
    next = .allocate(capacity: capacity)
    previous = .allocate(capacity: capacity)
  }

  /// Merges `symbols` and calls `emit` with the first symbol's position and the id of each resulting piece.
  @inline(__always)
  func merge(
    _ symbols: UnsafeBufferPointer<UInt32>, _ merges: MergeTable.Lookup,
    emit: (_ position: Int, _ id: UInt32) -> Void
  ) {
    let count = symbols.count
    guard count > 1 else {
      if count == 1 { emit(0, symbols[0]) }
      return
    }
    reserve(count)
    if count <= Self.fewSymbols { runFew(symbols, merges) } else { run(symbols, merges) }
    var position = 0
    while position < count {
      emit(position, ids[position])
      position = Int(next[position])
    }
  }

  /// Merges few symbols: looking at every rank each time is faster than keeping the tree.
  private func runFew(_ symbols: UnsafeBufferPointer<UInt32>, _ merges: MergeTable.Lookup) {
    let (leaves, ids, next, previous) = (tree, ids, next, previous)
    let count = symbols.count
    for position in 0..<count {
      ids[position] = symbols[position]
      next[position] = Int32(truncatingIfNeeded: position + 1)
      previous[position] = Int32(truncatingIfNeeded: position - 1)
      leaves[position] =
        position + 1 < count
        ? Self.leaf(merges.rank(symbols[position], symbols[position + 1]), position) : Self.nothing
    }
    while true {
      var lowest = Self.nothing
      for position in 0..<count { lowest = min(lowest, leaves[position]) }
      if lowest == Self.nothing { return }
      let left = Int(truncatingIfNeeded: lowest & 0xFFFF_FFFF)
      let right = Int(next[left])
      let merged = merges.merged(UInt32(truncatingIfNeeded: lowest >> 32), ids[left], ids[right])
      let after = Int(next[right])
      ids[left] = merged
      next[left] = Int32(truncatingIfNeeded: after)
      leaves[right] = Self.nothing
      leaves[left] = Self.nothing
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: left)
        leaves[left] = Self.leaf(merges.rank(merged, ids[after]), left)
      }
      let before = Int(previous[left])
      if before >= 0 { leaves[before] = Self.leaf(merges.rank(ids[before], merged), before) }
    }
  }

  private func run(_ symbols: UnsafeBufferPointer<UInt32>, _ merges: MergeTable.Lookup) {
    let (tree, ids, next, previous) = (tree, ids, next, previous)
    let count = symbols.count
    var width = 2
    while width < count { width *= 2 }

    for position in 0..<count {
      ids[position] = symbols[position]
      next[position] = Int32(truncatingIfNeeded: position + 1)
      previous[position] = Int32(truncatingIfNeeded: position - 1)
    }
    for position in 0..<count - 1 {
      tree[width + position] = Self.leaf(
        merges.rank(symbols[position], symbols[position + 1]), position)
    }
    for position in count - 1..<width { tree[width + position] = Self.nothing }
    for node in stride(from: width - 1, to: 0, by: -1) {
      tree[node] = min(tree[2 * node], tree[2 * node + 1])
    }

    while tree[1] != Self.nothing {
      let left = Int(truncatingIfNeeded: tree[1] & 0xFFFF_FFFF)
      let right = Int(next[left])
      let merged = merges.merged(UInt32(truncatingIfNeeded: tree[1] >> 32), ids[left], ids[right])
      let after = Int(next[right])
      ids[left] = merged
      next[left] = Int32(truncatingIfNeeded: after)
      Self.set(Self.nothing, at: width + right, in: tree)
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: left)
        Self.set(Self.leaf(merges.rank(merged, ids[after]), left), at: width + left, in: tree)
      } else {
        Self.set(Self.nothing, at: width + left, in: tree)
      }
      let before = Int(previous[left])
      if before >= 0 {
        Self.set(Self.leaf(merges.rank(ids[before], merged), before), at: width + before, in: tree)
      }
    }
  }

  @inline(__always)
  private static func leaf(_ rank: UInt32, _ position: Int) -> UInt64 {
    rank == MergeTable.none
      ? nothing : UInt64(rank) << 32 | UInt64(truncatingIfNeeded: position)
  }

  /// Sets a leaf and the minima above it.
  @inline(__always)
  private static func set(_ value: UInt64, at leaf: Int, in tree: UnsafeMutablePointer<UInt64>) {
    if tree[leaf] == value { return }
    tree[leaf] = value
    var node = leaf
    while node > 1 {
      let minimum = min(tree[node], tree[node ^ 1])
      node >>= 1
      if tree[node] == minimum { return }
      tree[node] = minimum
    }
  }
}
