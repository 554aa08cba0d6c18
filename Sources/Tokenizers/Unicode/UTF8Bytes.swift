/// UTF-8 read straight from bytes.
enum UTF8Bytes {
  /// The offset of the first byte that does not belong to a well-formed scalar, or nil.
  ///
  /// Well-formed as Unicode's table 3-7 has it: no overlong forms, no surrogates, nothing past U+10FFFF.
  static func firstInvalidOffset(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    var position = 0
    let count = bytes.count
    while position < count {
      // Eight ASCII bytes at a time.
      while position + 8 <= count {
        let word = UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped + position)
          .loadUnaligned(as: UInt64.self)
        if word & 0x8080_8080_8080_8080 != 0 { break }
        position += 8
      }
      guard position < count else { return nil }
      switch wellFormedLength(bytes, at: position) {
      case .complete(let length): position += length
      case .truncated, .invalid: return position
      }
    }
    return nil
  }

  /// What the bytes at one position are.
  enum Form: Equatable {
    /// A whole scalar of so many bytes.
    case complete(Int)
    /// The first bytes of a scalar (so many), up to the end of the buffer.
    case truncated(Int)
    /// Not a scalar; the maximal subpart to be replaced by one U+FFFD has so many bytes.
    case invalid(Int)
  }

  /// Classifies the bytes at `position`, which must lie within the buffer.
  static func wellFormedLength(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int) -> Form {
    let lead = bytes[position]
    if lead < 0x80 { return .complete(1) }
    let length: Int
    var lowest: UInt8 = 0x80
    var highest: UInt8 = 0xBF
    switch lead {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, lowest) = (3, 0xA0)
    case 0xED: (length, highest) = (3, 0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, lowest) = (4, 0x90)
    case 0xF4: (length, highest) = (4, 0x8F)
    case 0xF1...0xF3: length = 4
    default: return .invalid(1)
    }
    for index in 1..<length {
      guard position + index < bytes.count else { return .truncated(index) }
      let byte = bytes[position + index]
      guard byte >= lowest && byte <= highest else { return .invalid(index) }
      (lowest, highest) = (0x80, 0xBF)
    }
    return .complete(length)
  }

  /// The scalar at `position` and its length; the bytes must be well formed.
  @inline(__always)
  static func scalar(_ bytes: UnsafePointer<UInt8>, at position: Int) -> (
    value: UInt32, length: Int
  ) {
    let lead = UInt32(bytes[position])
    if lead < 0x80 { return (lead, 1) }
    let second = UInt32(bytes[position + 1] & 0x3F)
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | second, 2) }
    let third = UInt32(bytes[position + 2] & 0x3F)
    if lead < 0xF0 { return ((lead & 0x0F) << 12 | second << 6 | third, 3) }
    let fourth = UInt32(bytes[position + 3] & 0x3F)
    return ((lead & 0x07) << 18 | second << 12 | third << 6 | fourth, 4)
  }

  /// The length of the scalar that begins with `lead`, in well-formed text.
  @inline(__always)
  static func length(lead: UInt8) -> Int {
    lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
  }

  /// The first byte of a scalar.
  static func lead(_ scalar: UInt32) -> UInt8 {
    switch scalar {
    case ..<0x80: UInt8(truncatingIfNeeded: scalar)
    case ..<0x800: UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6)
    case ..<0x10000: UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12)
    default: UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18)
    }
  }

  /// The position of the scalar that ends just before `end`; `end` must not be the start.
  @inline(__always)
  static func start(ofScalarBefore end: Int, _ bytes: UnsafePointer<UInt8>) -> Int {
    var position = end - 1
    while bytes[position] & 0xC0 == 0x80 { position -= 1 }
    return position
  }

  /// Appends the UTF-8 form of a scalar value.
  static func append(_ scalar: UInt32, to bytes: inout [UInt8]) {
    switch scalar {
    case ..<0x80:
      bytes.append(UInt8(scalar))
    case ..<0x800:
      bytes.append(UInt8(0xC0 | scalar >> 6))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    case ..<0x10000:
      bytes.append(UInt8(0xE0 | scalar >> 12))
      bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    default:
      bytes.append(UInt8(0xF0 | scalar >> 18))
      bytes.append(UInt8(0x80 | scalar >> 12 & 0x3F))
      bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
      bytes.append(UInt8(0x80 | scalar & 0x3F))
    }
  }
}
