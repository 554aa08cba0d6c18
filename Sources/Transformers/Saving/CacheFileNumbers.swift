import Compute
import StoredNumbers

/// Numbers as a cache's file has them: little endian, in the format in which they are kept.
extension CacheFileWriter {
  /// The numbers had this format before: nothing is rounded.
  func write(_ floats: [Float], as type: DataType) throws {
    switch type {
    case .bfloat16:
      try floats.map(\.bfloat16Bits.littleEndian).withUnsafeBytes(write)
    case .float8: try floats.map(\.float8Bits).withUnsafeBytes(write)
    default: try floats.map(\.bitPattern.littleEndian).withUnsafeBytes(write)
    }
  }

  func write(factors: [Float], _ header: CacheFileHeader) throws {
    guard header.factorCount > 0 else { return }
    guard factors.count == header.factorCount else {
      throw CacheFileError.unsupported(type: "\(header.type.rawValue) without factors")
    }
    try write(factors, as: .float32)
  }
}

extension CacheFileReader {
  /// The next numbers.
  func elements(_ count: Int, as type: DataType) throws -> [Float] {
    try readAll(count * type.byteCount).withUnsafeBytes { bytes in
      func number<Number: FixedWidthInteger>(_: Number.Type, _ index: Int) -> Number {
        Number(
          littleEndian: bytes.loadUnaligned(
            fromByteOffset: index * MemoryLayout<Number>.size, as: Number.self))
      }
      return (0..<count).map { index in
        switch type {
        case .bfloat16: Float(bfloat16Bits: number(UInt16.self, index))
        case .float8: Float(float8Bits: number(UInt8.self, index))
        default: Float(bitPattern: number(UInt32.self, index))
        }
      }
    }
  }
}
