import Files
import Testing

@Suite struct BlockChecksumTests {
  /// The definition, word by word.
  private func reference(_ bytes: [UInt8], seed: UInt64) -> UInt64 {
    func mix(_ value: UInt64, _ word: UInt64) -> UInt64 {
      let product = (value ^ word) &* 0x9E37_79B1_85EB_CA87
      return product ^ (product >> 32)
    }
    let first = mix(seed, UInt64(bytes.count))
    var lanes = (1...8).map { first &+ $0 }
    let words = bytes.count / 64 * 8
    for index in 0..<words {
      let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[index * 8 + $1]) << UInt64(8 * $1) }
      lanes[index % 8] = mix(lanes[index % 8], word)
    }
    return bytes[(8 * words)...].reduce(lanes.reduce(first, mix)) { mix($0, UInt64($1)) }
  }

  private func checksum(_ bytes: [UInt8], seed: UInt64 = 7) -> UInt64 {
    bytes.withUnsafeBytes { BlockChecksum.of($0, seed: seed) }
  }

  private func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 / 11) }
  }

  @Test(arguments: [0, 1, 7, 8, 63, 64, 65, 127, 128, 1000, 4096])
  func `A checksum is that of its definition`(count: Int) {
    for seed in [0, 1, UInt64.max] {
      let expected = reference(bytes(count), seed: seed)
      #expect(checksum(bytes(count), seed: seed) == expected)
      // The same by parts.
      var parts = BlockChecksum(seed: seed, byteCount: count)
      for first in stride(from: 0, to: count, by: 128) {
        Array(bytes(count)[first..<min(first + 128, count)]).withUnsafeBytes { parts.add($0) }
      }
      #expect(parts.value == expected)
    }
  }

  @Test func `Every changed bit, byte more or less and exchange changes it`() {
    var bytes = bytes(203)
    let expected = checksum(bytes)
    for index in bytes.indices {
      for bit in 0..<8 {
        bytes[index] ^= 1 << bit
        #expect(checksum(bytes) != expected, "bit \(bit) of byte \(index)")
        bytes[index] ^= 1 << bit
      }
    }
    #expect(checksum(Array(bytes.dropLast())) != expected && checksum(bytes + [0]) != expected)
    #expect(checksum(bytes, seed: 8) != expected)
    let exchanged = Array(bytes[64..<128]) + Array(bytes[..<64]) + Array(bytes[128...])
    #expect(checksum(exchanged) != expected)
    let lanes = Array(bytes[8..<16]) + Array(bytes[..<8]) + Array(bytes[16...])
    #expect(checksum(lanes) != expected)
    #expect(
      checksum([UInt8](repeating: 0, count: 64)) != checksum([UInt8](repeating: 0, count: 128)))
  }
}
