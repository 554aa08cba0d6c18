/// A 64-bit checksum of large blocks, about as fast as memory is read.
///
/// Eight independent lanes take words of eight bytes in turn: a lane's value is combined with the word by
/// exclusive or, multiplied by an odd number, and folded onto itself. Each of these is invertible, so a
/// change within one word always changes the result; other changes go unseen with a probability of 2^-64.
/// Not meant to resist forgery. After Fingerprint's FNV-1a, by words and lanes.
package enum BlockChecksum {
  private static let factor: UInt64 = 0x9E37_79B1_85EB_CA87

  /// - Parameter seed: Tells apart blocks of the same bytes that must not be exchanged.
  package static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    let first = mix(seed, UInt64(bytes.count))
    var (a, b, c, d) = (first &+ 1, first &+ 2, first &+ 3, first &+ 4)
    var (e, f, g, h) = (first &+ 5, first &+ 6, first &+ 7, first &+ 8)
    let whole = bytes.count / 64 * 64
    if let start = bytes.baseAddress {
      func word(_ offset: Int) -> UInt64 {
        UInt64(littleEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      }
      var offset = 0
      while offset < whole {
        a = mix(a, word(offset))
        b = mix(b, word(offset &+ 8))
        c = mix(c, word(offset &+ 16))
        d = mix(d, word(offset &+ 24))
        e = mix(e, word(offset &+ 32))
        f = mix(f, word(offset &+ 40))
        g = mix(g, word(offset &+ 48))
        h = mix(h, word(offset &+ 56))
        offset &+= 64
      }
    }
    var value = first
    for lane in [a, b, c, d, e, f, g, h] { value = mix(value, lane) }
    for byte in bytes[whole...] { value = mix(value, UInt64(byte)) }
    return value
  }

  private static func mix(_ value: UInt64, _ word: UInt64) -> UInt64 {
    let product = (value ^ word) &* factor
    // A product carries upwards only: the upper bits come back down.
    return product ^ (product >> 32)
  }
}
