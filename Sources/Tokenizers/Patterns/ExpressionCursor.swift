/// A position in an expression, and what is read there.
struct ExpressionCursor {
  private let scalars: [UInt32]
  private(set) var position = 0

  init(_ expression: String) { scalars = expression.unicodeScalars.map(\.value) }

  /// Scalars of the whole expression.
  var count: Int { scalars.count }

  /// The next scalar, which stays; nil at the end.
  var next: UInt32? { at(0) }

  /// The scalar so many behind the next one.
  func at(_ offset: Int) -> UInt32? {
    position + offset < scalars.count ? scalars[position + offset] : nil
  }

  func error(_ problem: String) -> SplitExpressionError {
    SplitExpressionError(problem: "\(problem) at character \(position)")
  }

  mutating func skip() { position += 1 }

  mutating func back() { position -= 1 }

  mutating func go(to position: Int) { self.position = position }

  /// Takes this ASCII text if it comes next.
  mutating func take(_ text: StaticString) -> Bool {
    let length = text.utf8CodeUnitCount
    guard position + length <= scalars.count else { return false }
    let matches = text.withUTF8Buffer { bytes in
      bytes.indices.allSatisfy { scalars[position + $0] == UInt32(bytes[$0]) }
    }
    if matches { position += length }
    return matches
  }

  mutating func takeScalar() throws(SplitExpressionError) -> UInt32 {
    guard let next else { throw error("ends too early") }
    position += 1
    return next
  }

  /// Takes scalars up to this one, which stays.
  mutating func skip(to end: UInt32) {
    while let next, next != end { position += 1 }
  }

  /// A decimal number; nil where no digit comes next.
  mutating func takeNumber() -> Int? {
    var value: Int?
    while let next, (0x30...0x39).contains(next) {
      value = min(1_000_000, (value ?? 0) * 10 + Int(next - 0x30))
      position += 1
    }
    return value
  }

  mutating func takeHexadecimal(atMost digits: Int) -> UInt32? {
    var value: UInt32?
    for _ in 0..<digits {
      guard let next, let scalar = Unicode.Scalar(next), scalar.isASCII,
        let digit = Character(scalar).hexDigitValue
      else { break }
      value = (value ?? 0) << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}

extension UInt32 {
  init(ascii scalar: Unicode.Scalar) { self = scalar.value }
}
