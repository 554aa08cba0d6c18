#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What became of each choice at each place of a text, once that is being marked: two bits each.
struct ChoiceMarks: ~Copyable {
  enum Mark {
    static let untried: UInt64 = 0
    /// Being made, or failed.
    static let failed: UInt64 = 1
    /// Succeeds within a look.
    static let succeeded: UInt64 = 2
  }

  private var words: UnsafeMutablePointer<UInt64>?
  private var wordsOfRow = 0
  /// The choices that are being made, in their order.
  private var trail: [(row: Int, position: Int)] = []

  deinit { free(words) }

  var areKept: Bool {
    @inline(__always) get { words != nil }
  }

  /// How many choices are being made.
  var depth: Int { trail.count }

  mutating func begin(rows: Int, places: Int) {
    wordsOfRow = (places + 31) / 32
    // Pages that no choice touches are never backed by memory.
    words = calloc(wordsOfRow * max(1, rows), MemoryLayout<UInt64>.stride)?
      .assumingMemoryBound(to: UInt64.self)
  }

  mutating func end() {
    free(words)
    words = nil
    trail.removeAll(keepingCapacity: true)
  }

  subscript(row: Int, position: Int) -> UInt64 {
    @inline(__always) get {
      guard let words else { return Mark.untried }
      return words[row * wordsOfRow + position >> 5] >> UInt64((position & 31) * 2) & 3
    }
    @inline(__always) set {
      guard let words else { return }
      let shift = UInt64((position & 31) * 2)
      let word = row * wordsOfRow + position >> 5
      words[word] = words[word] & ~(3 << shift) | newValue << shift
    }
  }

  /// Marks a choice as being made; it is so until it is settled.
  @inline(__always)
  mutating func enter(_ row: Int, _ position: Int) {
    self[row, position] = Mark.failed
    trail.append((row, position))
  }

  /// The choices made since `depth` have failed.
  mutating func fail(to depth: Int) { trail.removeSubrange(depth...) }

  /// What led to a success has not failed, and within a look it will succeed again.
  mutating func settle(from depth: Int, succeeded: Bool, isInLook: Bool) {
    if succeeded {
      for entry in trail[depth...] {
        self[entry.row, entry.position] = isInLook ? Mark.succeeded : Mark.untried
      }
    }
    trail.removeSubrange(depth...)
  }
}
