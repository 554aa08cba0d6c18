/// A 64-bit checksum of large blocks, about as fast as memory is read.
///
/// Eight independent lanes take words of eight bytes in turn: a lane's value is combined with the word by
/// exclusive or, multiplied by an odd number, and folded onto itself. Each of these is invertible, so a
/// change within one word always changes the result; other changes go unseen with a probability of 2^-64.
/// Not meant to resist forgery. After Fingerprint's FNV-1a, by words and lanes.
package struct BlockChecksum: Sendable {
  private static let factor: UInt64 = 0x9E37_79B1_85EB_CA87

  private let first: UInt64
  private var lanes: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)
  /// Bytes behind the last 64.
  private var rest: [UInt8] = []

  /// - Parameters:
  ///   - seed: Tells apart blocks of the same bytes that must not be exchanged.
  ///   - byteCount: Bytes of the whole block.
  package init(seed: UInt64, byteCount: Int) {
    let first = Self.mix(seed, UInt64(byteCount))
    self.first = first
    lanes = (
      first &+ 1, first &+ 2, first &+ 3, first &+ 4, first &+ 5, first &+ 6, first &+ 7,
      first &+ 8
    )
  }

  package static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    var checksum = BlockChecksum(seed: seed, byteCount: bytes.count)
    checksum.add(bytes)
    return checksum.value
  }

  /// Adds the next part of a block: a multiple of 64 bytes, but for the last one.
  package mutating func add(_ bytes: UnsafeRawBufferPointer) {
    precondition(rest.isEmpty)
    let whole = bytes.count / 64 * 64
    rest = Array(bytes[whole...])
    guard let start = bytes.baseAddress else { return }
    func word(_ offset: Int) -> UInt64 {
      UInt64(littleEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    var (a, b, c, d, e, f, g, h) = lanes
    var offset = 0
    while offset < whole {
      a = Self.mix(a, word(offset))
      b = Self.mix(b, word(offset &+ 8))
      c = Self.mix(c, word(offset &+ 16))
      d = Self.mix(d, word(offset &+ 24))
      e = Self.mix(e, word(offset &+ 32))
      f = Self.mix(f, word(offset &+ 40))
      g = Self.mix(g, word(offset &+ 48))
      h = Self.mix(h, word(offset &+ 56))
      offset &+= 64
    }
    lanes = (a, b, c, d, e, f, g, h)
  }

  /// The checksum of all that was added.
  package var value: UInt64 {
    var value = first
    let (a, b, c, d, e, f, g, h) = lanes
    for lane in [a, b, c, d, e, f, g, h] { value = Self.mix(value, lane) }
    for byte in rest { value = Self.mix(value, UInt64(byte)) }
    return value
  }

  private static func mix(_ value: UInt64, _ word: UInt64) -> UInt64 {
    let product = (value ^ word) &* factor
    // A product carries upwards only: the upper bits come back down.
    return product ^ (product >> 32)
  }
}
