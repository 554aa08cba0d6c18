/// Sets of scalars: classes in brackets, and the escapes that name one scalar or many.
extension PatternParser {
  /// What follows a backslash and is one scalar of a set.
  mutating func readSetEscape(inClass: Bool) throws(SplitExpressionError) -> ScalarSet {
    let scalar = try cursor.takeScalar()
    switch scalar {
    case UInt32(ascii: "d"): return ScalarProperties.digits
    case UInt32(ascii: "D"): return ScalarProperties.digits.inverted
    case UInt32(ascii: "s"): return ScalarProperties.whiteSpace
    case UInt32(ascii: "S"): return ScalarProperties.whiteSpace.inverted
    case UInt32(ascii: "w"): return ScalarProperties.word
    case UInt32(ascii: "W"): return ScalarProperties.word.inverted
    case UInt32(ascii: "h"): return Self.hexadecimalDigits
    case UInt32(ascii: "H"): return Self.hexadecimalDigits.inverted
    case UInt32(ascii: "p"), UInt32(ascii: "P"):
      return try readProperty(isNegative: scalar == UInt32(ascii: "P"))
    default:
      cursor.back()
      return literal(try readScalarEscape(inClass: inClass))
    }
  }

  private static let hexadecimalDigits = ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])

  mutating func readProperty(isNegative: Bool) throws(SplitExpressionError) -> ScalarSet {
    var isNegative = isNegative
    var name = String.UnicodeScalarView()
    let first = try cursor.takeScalar()
    if first == UInt32(ascii: "{") {
      if cursor.take("^") { isNegative.toggle() }
      while let next = cursor.next, next != UInt32(ascii: "}"), name.count < 64 {
        if let scalar = Unicode.Scalar(next) { name.append(scalar) }
        cursor.skip()
      }
      guard cursor.take("}") else { throw cursor.error("lacks a \"}\"") }
    } else if let scalar = Unicode.Scalar(first) {
      name.append(scalar)
    }
    guard let set = properties[String(name)] ?? ScalarProperties.set(named: String(name)) else {
      throw cursor.error("names the property \"\(String(name))\", which is not known,")
    }
    properties[String(name)] = set
    if flags.ignoresCase, ["lu", "ll", "lt"].contains(String(name).lowercased()) {
      throw cursor.error("ignores the case of \\p{\(String(name))}, which is not supported,")
    }
    return isNegative ? set.inverted : set
  }

  /// One scalar by escape.
  mutating func readScalarEscape(inClass: Bool) throws(SplitExpressionError) -> UInt32 {
    let scalar = try cursor.takeScalar()
    switch scalar {
    case UInt32(ascii: "n"): return 0x0A
    case UInt32(ascii: "r"): return 0x0D
    case UInt32(ascii: "t"): return 0x09
    case UInt32(ascii: "f"): return 0x0C
    case UInt32(ascii: "v"): return 0x0B
    case UInt32(ascii: "a"): return 0x07
    case UInt32(ascii: "e"): return 0x1B
    case UInt32(ascii: "b") where inClass: return 0x08
    case UInt32(ascii: "0"): return 0
    case UInt32(ascii: "x"), UInt32(ascii: "u"), UInt32(ascii: "U"):
      if cursor.take("{") {
        let value = cursor.takeHexadecimal(atMost: 8)
        guard let value, cursor.take("}"), value <= ScalarSet.largestScalar else {
          throw cursor.error("has a number that is no character")
        }
        return value
      }
      let digits = scalar == UInt32(ascii: "x") ? 2 : scalar == UInt32(ascii: "u") ? 4 : 8
      guard let value = cursor.takeHexadecimal(atMost: digits), value <= ScalarSet.largestScalar
      else {
        throw cursor.error("has a number that is no character")
      }
      return value
    default:
      let isLetter = scalar < 0x80 && Unicode.Scalar(scalar)?.properties.isAlphabetic == true
      if isLetter || (0x31...0x39).contains(scalar) {
        let name = Unicode.Scalar(scalar).map { String(Character($0)) } ?? ""
        throw cursor.error("has the escape \"\\\(name)\", which is not supported,")
      }
      return scalar
    }
  }

  // MARK: Classes

  /// A class after its opening bracket.
  mutating func readClass() throws(SplitExpressionError) -> ScalarSet {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepestNesting {
      throw cursor.error("is nested more than \(Self.deepestNesting) deep")
    }
    let isNegative = cursor.take("^")
    var intersected: ScalarSet?
    var ranges: [ClosedRange<UInt32>] = []
    var isFirst = true
    while true {
      guard let next = cursor.next else { throw cursor.error("lacks a \"]\"") }
      if next == UInt32(ascii: "]"), !isFirst {
        cursor.skip()
        break
      }
      isFirst = false
      if cursor.take("&&") {
        let set = ScalarSet(ranges)
        intersected = intersected?.intersection(set) ?? set
        ranges = []
        continue
      }
      if cursor.take("[:") {
        ranges += try readBracketName().ranges
      } else if cursor.take("[") {
        ranges += try readClass().ranges
      } else {
        ranges += try readClassItem().ranges
      }
    }
    let set = ScalarSet(ranges)
    let result = intersected?.intersection(set) ?? set
    return isNegative ? result.inverted : result
  }

  /// One scalar, one range or one escape.
  mutating func readClassItem() throws(SplitExpressionError) -> ScalarSet {
    var lower = try cursor.takeScalar()
    if lower == UInt32(ascii: "\\") {
      switch cursor.next {
      case UInt32(ascii: "d"), UInt32(ascii: "D"), UInt32(ascii: "s"), UInt32(ascii: "S"),
        UInt32(ascii: "w"), UInt32(ascii: "W"), UInt32(ascii: "h"), UInt32(ascii: "H"),
        UInt32(ascii: "p"), UInt32(ascii: "P"):
        return try readSetEscape(inClass: true)
      default: lower = try readScalarEscape(inClass: true)
      }
    }
    guard cursor.next == UInt32(ascii: "-"), let after = cursor.at(1), after != UInt32(ascii: "]"),
      after != UInt32(ascii: "[")
    else { return literal(lower) }
    cursor.skip()
    var upper = try cursor.takeScalar()
    if upper == UInt32(ascii: "\\") {
      switch cursor.next {
      case UInt32(ascii: "p"), UInt32(ascii: "P"), UInt32(ascii: "d"), UInt32(ascii: "s"),
        UInt32(ascii: "w"):
        // `a-\d` is the two ends and a hyphen.
        return literal(lower).union(ScalarSet(0x2D)).union(try readSetEscape(inClass: true))
      default: upper = try readScalarEscape(inClass: true)
      }
    }
    guard lower <= upper else { throw cursor.error("has a range that descends") }
    let range = ScalarSet([lower...upper])
    guard flags.ignoresCase else { return range }
    guard upper - lower < 0x3000 else {
      throw cursor.error("ignores the case of a range that is too large")
    }
    return ScalarSet((lower...upper).flatMap { ScalarProperties.caseVariants(of: $0).ranges })
  }

  /// `[:name:]` after its first two characters.
  mutating func readBracketName() throws(SplitExpressionError) -> ScalarSet {
    let isNegative = cursor.take("^")
    var name = ""
    while let next = cursor.next, next != UInt32(ascii: ":"), name.count < 16,
      let scalar = Unicode.Scalar(next)
    {
      name.unicodeScalars.append(scalar)
      cursor.skip()
    }
    guard cursor.take(":]") else { throw cursor.error("lacks a \":]\"") }
    let set: ScalarSet
    switch name {
    case "digit": set = ScalarProperties.digits
    case "space": set = ScalarProperties.whiteSpace
    case "word": set = ScalarProperties.word
    case "xdigit": set = Self.hexadecimalDigits
    case "ascii": set = ScalarSet([0...0x7F])
    default: throw cursor.error("names the class \"\(name)\", which is not known,")
    }
    return isNegative ? set.inverted : set
  }
}
