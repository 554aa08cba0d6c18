/// Numbers as Python writes them.
enum NumberText {
  /// `repr` of a float: the shortest digits that read back the same, without an exponent from 1e-4
  /// up to 1e16.
  static func shortest(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    let sign = value.sign == .minus ? "-" : ""
    let (digits, exponent) = decimal(value.magnitude)
    if exponent < -3 || exponent > 16 {
      let rest = digits.dropFirst()
      let power = exponent - 1
      let magnitude = power.magnitude < 10 ? "0\(power.magnitude)" : "\(power.magnitude)"
      return sign + digits.prefix(1) + (rest.isEmpty ? "" : "." + rest) + "e"
        + (power < 0 ? "-" : "+") + magnitude
    }
    if exponent <= 0 { return sign + "0." + String(repeating: "0", count: -exponent) + digits }
    if digits.count <= exponent {
      return sign + digits + String(repeating: "0", count: exponent - digits.count) + ".0"
    }
    return sign + digits.prefix(exponent) + "." + digits.dropFirst(exponent)
  }

  /// The shortest digits, and the exponent with which the value is 0.digits * 10^exponent.
  static func decimal(_ magnitude: Double) -> (digits: String, exponent: Int) {
    if magnitude == 0 { return ("0", 1) }
    var text = Substring(magnitude.description)
    var exponent = 0
    if let mark = text.firstIndex(of: "e") {
      exponent = Int(text[text.index(after: mark)...].drop { $0 == "+" }) ?? 0
      text = text[..<mark]
    }
    let point = text.firstIndex(of: ".") ?? text.endIndex
    exponent += text.distance(from: text.startIndex, to: point)
    var digits = String(text.filter { $0 != "." })
    let zeros = digits.prefix { $0 == "0" }.count
    digits = String(digits.dropFirst(zeros))
    exponent -= zeros
    while digits.count > 1, digits.last == "0" { digits.removeLast() }
    return (digits, exponent)
  }

  /// With so many digits after the point, rounded half to even on the exact binary value.
  ///
  /// Exact decimal expansion of the binary fraction; 1,100 digits hold every double.
  static func fixed(_ value: Double, digits: Int) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    let sign = value.sign == .minus ? "-" : ""
    var expansion = exact(value.magnitude)
    round(&expansion, to: digits)
    let fraction = expansion.fraction.map { Character(Unicode.Scalar(48 + $0)) }
    let padded = String(fraction) + String(repeating: "0", count: max(0, digits - fraction.count))
    let whole = String(expansion.whole.map { Character(Unicode.Scalar(48 + $0)) })
    return sign + whole + (digits > 0 ? "." + padded : "")
  }

  /// What `fixed` and the like cost: long multiplications, as many as the value has binary places.
  static func cost(of value: Double) -> Int {
    let places = value.isFinite && value != 0 ? Int(value.exponent.magnitude) + 52 : 52
    return 8 + places * places / 16
  }

  private struct Expansion {
    /// Decimal digits, most significant first, without leading zeros but for the last one.
    var whole: [UInt8]
    var fraction: [UInt8]
  }

  private static func exact(_ magnitude: Double) -> Expansion {
    guard magnitude != 0 else { return Expansion(whole: [0], fraction: []) }
    let exponent = Int(magnitude.exponent) - 52
    var significand = UInt64(magnitude.significandBitPattern)
    if magnitude.isNormal { significand |= 1 << 52 }
    let shift = magnitude.isNormal ? exponent : -1074
    var whole = String(significand).utf8.map { $0 - 48 }
    guard shift < 0 else {
      for _ in 0..<shift { double(&whole) }
      return Expansion(whole: whole, fraction: [])
    }
    // Dividing by two is multiplying by five and moving the point.
    var carryLess = whole
    for _ in 0..<(-shift) { multiplyByFive(&carryLess) }
    let places = -shift
    if carryLess.count <= places {
      carryLess = [UInt8](repeating: 0, count: places - carryLess.count + 1) + carryLess
    }
    var fraction = Array(carryLess.suffix(places))
    while fraction.last == 0 { fraction.removeLast() }
    return Expansion(whole: Array(carryLess.dropLast(places)), fraction: fraction)
  }

  private static func double(_ digits: inout [UInt8]) { multiply(&digits, by: 2) }
  private static func multiplyByFive(_ digits: inout [UInt8]) { multiply(&digits, by: 5) }

  private static func multiply(_ digits: inout [UInt8], by factor: UInt8) {
    var carry: UInt8 = 0
    for index in digits.indices.reversed() {
      let product = digits[index] * factor + carry
      digits[index] = product % 10
      carry = product / 10
    }
    if carry > 0 { digits.insert(carry, at: 0) }
  }

  private static func round(_ expansion: inout Expansion, to digits: Int) {
    guard expansion.fraction.count > digits else { return }
    let rest = expansion.fraction[digits...]
    expansion.fraction = Array(expansion.fraction[..<digits])
    let last = expansion.fraction.last ?? expansion.whole.last ?? 0
    let isHalf = rest.first == 5 && rest.dropFirst().allSatisfy { $0 == 0 }
    guard let first = rest.first, first > 5 || first == 5 && (!isHalf || last % 2 == 1) else {
      return
    }
    var all = expansion.whole + expansion.fraction
    var index = all.count - 1
    while index >= 0, all[index] == 9 {
      all[index] = 0
      index -= 1
    }
    if index >= 0 { all[index] += 1 } else { all.insert(1, at: 0) }
    expansion.whole = Array(all.dropLast(digits))
    expansion.fraction = Array(all.suffix(digits))
  }

  /// In the form d.ddde+xx with so many digits after the point.
  static func exponential(_ value: Double, digits: Int) -> String {
    if value.isNaN || value.isInfinite { return fixed(value, digits: 0) }
    let (mantissa, exponent) = significant(value.magnitude, count: digits + 1)
    let sign = value.sign == .minus ? "-" : ""
    let magnitude = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
    return sign + mantissa.prefix(1) + (digits > 0 ? "." + mantissa.dropFirst() : "") + "e"
      + (exponent < 0 ? "-" : "+") + magnitude
  }

  /// In the shorter of both forms with so many significant digits, without zeros at the end.
  static func general(_ value: Double, digits: Int) -> String {
    if value.isNaN || value.isInfinite { return fixed(value, digits: 0) }
    let count = max(1, digits)
    let (_, exponent) = significant(value.magnitude, count: count)
    var text: String
    var power = ""
    if exponent < -4 || exponent >= count {
      text = exponential(value, digits: count - 1)
      if let mark = text.firstIndex(of: "e") {
        power = String(text[mark...])
        text = String(text[..<mark])
      }
    } else {
      text = fixed(value, digits: count - 1 - exponent)
    }
    if text.contains(".") {
      while text.last == "0" { text.removeLast() }
      if text.last == "." { text.removeLast() }
    }
    return text + power
  }

  /// So many rounded significant digits, and the exponent of the first of them.
  private static func significant(
    _ magnitude: Double, count: Int
  ) -> (digits: String, exponent: Int) {
    guard magnitude != 0 else { return (String(repeating: "0", count: count), 0) }
    let expansion = exact(magnitude)
    let all = expansion.whole + expansion.fraction
    let zeros = all.prefix { $0 == 0 }.count
    var exponent = expansion.whole.count - 1 - zeros
    var digits = Expansion(
      whole: [0], fraction: Array(all[zeros...]))
    round(&digits, to: count)
    if digits.whole != [0] {
      exponent += 1
      digits.fraction = digits.whole + digits.fraction.dropLast()
    }
    let text = String(digits.fraction.map { Character(Unicode.Scalar(48 + $0)) })
    return (text + String(repeating: "0", count: max(0, count - text.count)), exponent)
  }
}
