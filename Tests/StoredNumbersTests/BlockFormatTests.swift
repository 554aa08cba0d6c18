import StoredNumbers
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The reference decoders against the ones of the Python package `gguf`.
@Suite struct BlockFormatTests {
  /// One entry of `blocks.json`.
  private struct Golden: Decodable {
    let format: String
    let bytes: String
    let values: String
  }

  private static func goldens() throws -> [Golden] {
    let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
    let data = try Data(contentsOf: URL(filePath: "/" + folder + "/Goldens/blocks.json"))
    return try JSONDecoder().decode([Golden].self, from: data)
  }

  private static func bytes(ofHexadecimal text: String) throws -> [UInt8] {
    let digits = try text.utf8.map { try #require(Character(Unicode.Scalar($0)).hexDigitValue) }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  private static func floats(ofHexadecimal text: String) throws -> [Float] {
    let bytes = try bytes(ofHexadecimal: text)
    return stride(from: 0, to: bytes.count, by: 4).map { start in
      let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << (8 * UInt32($1)) }
      return Float(bitPattern: bits)
    }
  }

  @Test("Random and extreme blocks of every format decode to what the Python package says")
  func decodesGoldens() throws {
    var blocksOfFormat: [BlockFormat: Int] = [:]
    for golden in try Self.goldens() {
      let format = try #require(BlockFormat(rawValue: golden.format))
      let bytes = try Self.bytes(ofHexadecimal: golden.bytes)
      let expected = try Self.floats(ofHexadecimal: golden.values)
      #expect(bytes.count == format.bytesPerBlock)
      let decoded = bytes.withUnsafeBytes { format.decoded($0) }
      try #require(decoded.count == format.elementsPerBlock && expected.count == decoded.count)
      // The package multiplies and subtracts in float32.
      let largest = expected.reduce(0) { max($0, abs(Double($1))) }
      let tolerance = 1e-6 * largest + 0x1p-149
      for (index, (ours, theirs)) in zip(decoded, expected).enumerated() {
        #expect(
          abs(ours - Double(theirs)) <= tolerance,
          "\(format.rawValue), element \(index): \(ours), not \(theirs)")
      }
      blocksOfFormat[format, default: 0] += 1
    }
    for format in BlockFormat.allCases { #expect(blocksOfFormat[format] == 9) }
  }

  @Test("A row decodes block by block")
  func decodesRows() throws {
    let golden = try #require(try Self.goldens().first)
    let format = try #require(BlockFormat(rawValue: golden.format))
    let bytes = try Self.bytes(ofHexadecimal: golden.bytes)
    let block = bytes.withUnsafeBytes { format.decoded($0) }
    let row = (bytes + bytes).withUnsafeBytes { format.decodedRow($0) }
    #expect(row == block + block)
    #expect([UInt8]().withUnsafeBytes { format.decodedRow($0) }.isEmpty)
  }

  @Test("Rows are whole blocks, and their bytes never overflow")
  func countsRowBytes() {
    #expect(BlockFormat.q40.rowByteCount(64) == 36)
    #expect(BlockFormat.q6K.rowByteCount(512) == 420)
    #expect(BlockFormat.q6K.rowByteCount(0) == 0)
    #expect(BlockFormat.q40.rowByteCount(33) == nil)
    #expect(BlockFormat.q4K.rowByteCount(32) == nil)
    #expect(BlockFormat.q40.rowByteCount(-32) == nil)
    #expect(BlockFormat.q80.rowByteCount(Int.max - 31) == nil)
    #expect(BlockFormat.q4K.bitsPerElement == 4.5)
    #expect(BlockFormat.q6K.bitsPerElement == 6.5625)
  }

  @Test("A scale that is not finite gives elements that are not finite")
  func keepsNonFiniteScales() {
    // Bits of infinity and NaN in the scale, elements of one.
    for bits: [UInt8] in [[0x00, 0x7C], [0x01, 0x7E]] {
      let block = bits + [UInt8](repeating: 1, count: 32)
      let decoded = block.withUnsafeBytes { BlockFormat.q80.decoded($0) }
      #expect(decoded.allSatisfy { !$0.isFinite })
    }
  }
}
