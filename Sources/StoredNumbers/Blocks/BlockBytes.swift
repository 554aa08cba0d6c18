/// The bytes of one block and the fields that blocks are made of, little endian.
struct BlockBytes {
  let bytes: UnsafeRawBufferPointer

  subscript(offset: Int) -> Int { Int(bytes[offset]) }

  /// The signed byte at `offset`.
  func signed(_ offset: Int) -> Int { Int(Int8(bitPattern: bytes[offset])) }

  /// The lower four bits of the byte at `offset`.
  func low(_ offset: Int) -> Int { self[offset] & 15 }

  /// The upper four bits of the byte at `offset`.
  func high(_ offset: Int) -> Int { self[offset] >> 4 }

  /// Bit `index` of the bits that begin at `offset`, eight to a byte, the lowest first.
  func bit(_ index: Int, from offset: Int) -> Int { self[offset + index / 8] >> (index % 8) & 1 }

  /// The IEEE 754 binary16 number at `offset`.
  func half(_ offset: Int) -> Double {
    Double(float16Bits: UInt16(self[offset] | self[offset + 1] << 8))
  }

  /// Element `i` of 32 that are stored as 16 bytes from `offset` on: low nibbles first, then high.
  func nibble(_ i: Int, from offset: Int) -> Int {
    i < 16 ? low(offset + i) : high(offset + i - 16)
  }
}
