/// Numbers read from texts as Python's `int` and `float` read them.
enum NumberReading {
  /// - Returns: nil for what is no whole number.
  static func integer(
    _ text: String, base: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Int? {
    guard base == 0 || (2...36).contains(base) else {
      throw budget.failure("int knows the bases 0 and 2 to 36")
    }
    guard isShort(text) else { return nil }
    var digits = Substring(trimmed(text))
    var sign = ""
    if let first = digits.first, first == "+" || first == "-" {
      sign = first == "-" ? "-" : ""
      digits = digits.dropFirst()
    }
    var radix = base
    let prefixes: [(letter: String, radix: Int)] = [("b", 2), ("o", 8), ("x", 16)]
    var hasPrefix = false
    for (letter, value) in prefixes
    where (base == 0 || base == value) && digits.prefix(2).lowercased() == "0" + letter {
      radix = value
      digits = digits.dropFirst(2)
      hasPrefix = true
    }
    if radix == 0 {
      radix = 10
      if digits.count > 1, digits.first == "0", digits.contains(where: { $0 != "0" && $0 != "_" }) {
        return nil
      }
    }
    if hasPrefix, digits.first == "_" { digits = digits.dropFirst() }
    guard let plain = withoutUnderscores(digits), !plain.isEmpty,
      plain.unicodeScalars.allSatisfy({ isDigit($0, radix) })
    else { return nil }
    guard let value = Int(sign + plain, radix: radix) else {
      throw budget.failure("a number that is too large")
    }
    return value
  }

  private static func isDigit(_ scalar: Unicode.Scalar, _ radix: Int) -> Bool {
    scalar.isASCII
      && (Character(scalar).hexDigitValue.map { $0 < radix }
        ?? (radix > 16
          && Int(String(scalar), radix: radix) != nil))
  }

  /// Whether a text is short enough for a number; as in Python, 4,300 digits are.
  private static func isShort(_ text: String) -> Bool { text.utf8.count <= 4300 }

  /// - Returns: nil if the text is not a number.
  static func number(_ text: String) -> Double? {
    guard isShort(text), let plain = withoutUnderscores(Substring(trimmed(text))) else {
      return nil
    }
    var body = Substring(plain)
    if let first = body.first, first == "+" || first == "-" { body = body.dropFirst() }
    switch body.lowercased() {
    case "inf", "infinity": return plain.first == "-" ? -.infinity : .infinity
    case "nan": return .nan
    default: break
    }
    let isDecimal = body.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || [0x2E, 0x65, 0x45, 0x2B, 0x2D].contains(byte)
    }
    guard isDecimal, let first = body.utf8.first, (0x30...0x39).contains(first) || first == 0x2E,
      body.utf8.contains(where: { (0x30...0x39).contains($0) })
    else { return nil }
    var complete = String(body)
    // Swift reads no number that begins or ends with its point.
    if complete.first == "." { complete = "0" + complete }
    if let point = complete.firstIndex(of: ".") {
      let next = complete.index(after: point)
      if next == complete.endIndex || complete[next] == "e" || complete[next] == "E" {
        complete.insert("0", at: next)
      }
    }
    return Double((plain.first == "-" ? "-" : "") + complete)
  }

  private static func trimmed(_ text: String) -> String {
    TemplateText(text).stripped().string
  }

  /// Without underscores between digits; nil where one stands elsewhere.
  private static func withoutUnderscores(_ text: Substring) -> String? {
    guard text.utf8.contains(0x5F) else { return String(text) }
    let bytes = Array(text.utf8)
    for (index, byte) in bytes.enumerated() where byte == 0x5F {
      guard index > 0, index + 1 < bytes.count, bytes[index - 1] != 0x5F,
        bytes[index + 1] != 0x5F, bytes[index - 1] >= 0x30, bytes[index + 1] >= 0x30
      else { return nil }
    }
    return String(decoding: bytes.filter { $0 != 0x5F }, as: UTF8.self)
  }
}
