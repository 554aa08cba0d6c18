/// Remembers where in the output the ids of short pieces stand, so that a word that comes again is copied.
///
/// Direct-mapped; an entry is overwritten by the next piece that falls on it. Belongs to one encoding call.
final class PieceCache {
  /// The longest piece that is remembered, in bytes.
  static let longestPiece = 16

  private struct Entry {
    var low: UInt64 = 0
    var high: UInt64 = 0
    var start: UInt32 = 0
    var count: UInt16 = 0
    /// Bytes of the piece; 0 for an empty entry.
    var length: UInt16 = 0
  }

  /// A piece of at most sixteen bytes as two words.
  struct Key {
    fileprivate let low: UInt64
    fileprivate let high: UInt64
    fileprivate let length: UInt16

    /// - Parameter available: how many bytes may be read from `bytes`, at least `length`.
    @inline(__always)
    init(_ bytes: UnsafePointer<UInt8>, length: Int, available: Int) {
      self.length = UInt16(truncatingIfNeeded: length)
      let raw = UnsafeRawPointer(bytes)
      if available >= 16 {
        let low = raw.loadUnaligned(as: UInt64.self)
        let high = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        self.low = length >= 8 ? low : low & (1 << UInt64(8 * length) &- 1)
        self.high =
          length <= 8 ? 0 : length == 16 ? high : high & (1 << UInt64(8 * (length - 8)) &- 1)
      } else {
        var words: (UInt64, UInt64) = (0, 0)
        for index in 0..<length {
          let byte = UInt64(bytes[index]) << UInt64(8 * (index & 7))
          if index < 8 { words.0 |= byte } else { words.1 |= byte }
        }
        (low, high) = words
      }
    }
  }

  /// Raw, so that the innermost loop pays for no reference counts and no exclusivity checks.
  private let entries: UnsafeMutablePointer<Entry>
  private let shift: UInt64

  /// - Parameter textLength: sizes the cache; a short text does not pay for a large one.
  init(textLength: Int) {
    var bits: UInt64 = 4
    while bits < 15, 1 << bits < textLength / 8 { bits += 1 }
    entries = .allocate(capacity: 1 << Int(bits))
    entries.initialize(repeating: Entry(), count: 1 << Int(bits))
    shift = 64 - bits
  }

  deinit { entries.deallocate() }

  @inline(__always)
  private func slot(_ key: Key) -> Int {
    let mixed = (key.low ^ key.high &* 0xFF51_AFD7_ED55_8CCD) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: ((mixed ^ mixed >> 29) &* 0xBF58_476D_1CE4_E5B9) >> shift)
  }

  /// Appends the remembered ids of a piece to the output they stand in.
  @inline(__always)
  func append(_ key: Key, to output: TokenBuffer) -> Bool {
    let entry = entries[slot(key)]
    guard entry.length == key.length, entry.low == key.low, entry.high == key.high else {
      return false
    }
    output.appendCopy(from: Int(entry.start), count: Int(entry.count))
    return true
  }

  /// Remembers that the ids of a piece stand at `range` of the output.
  func store(_ key: Key, _ range: Range<Int>) {
    guard range.upperBound <= Int(UInt32.max) else { return }
    entries[slot(key)] = Entry(
      low: key.low, high: key.high, start: UInt32(range.lowerBound), count: UInt16(range.count),
      length: key.length)
  }
}
