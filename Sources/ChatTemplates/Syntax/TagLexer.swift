/// The tokens within tags: names, numbers, strings, operators.
struct TagLexer {
  /// The longest name.
  static let longestName = 200

  private let source: [Unicode.Scalar]
  private(set) var position = 0
  private(set) var line = 1
  private var brackets: [Unicode.Scalar] = []

  init(source: [Unicode.Scalar]) { self.source = source }

  /// Whether no bracket is open.
  var isBalanced: Bool { brackets.isEmpty }

  func starts(with text: StaticString, at place: Int) -> Bool {
    let count = text.utf8CodeUnitCount
    guard place + count <= source.count else { return false }
    return text.withUTF8Buffer { bytes in
      for index in 0..<count where source[place + index].value != UInt32(bytes[index]) {
        return false
      }
      return true
    }
  }

  mutating func advance(_ count: Int) {
    for scalar in source[position..<position + count] where scalar == "\n" { line += 1 }
    position += count
  }

  private func syntaxError(_ problem: String) -> ChatTemplateError {
    ChatTemplateError(.syntax, line: line, problem)
  }

  private static let symbols: [StaticString] = [
    "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")",
    "[", "]", "{", "}", ".", ",", ":", "|",
  ]

  /// The token that begins here; white space must be skipped already.
  mutating func next() throws(ChatTemplateError) -> TemplateToken {
    let first = source[position]
    let start = line
    if first == "'" || first == "\"" {
      return TemplateToken(kind: .string(try readString(quote: first)), line: start)
    }
    if ("0"..."9").contains(first) {
      return TemplateToken(kind: try readNumber(), line: start)
    }
    if first == "_" || first.properties.isXIDStart {
      return TemplateToken(kind: .name(try readName()), line: start)
    }
    guard let symbol = Self.symbols.first(where: { starts(with: $0, at: position) }) else {
      throw syntaxError("\"\(first)\" is not part of an expression")
    }
    try balance(first)
    advance(symbol.utf8CodeUnitCount)
    return TemplateToken(kind: .symbol("\(symbol)"), line: start)
  }

  private mutating func balance(_ symbol: Unicode.Scalar) throws(ChatTemplateError) {
    switch symbol {
    case "(", "[", "{": brackets.append(symbol)
    case ")", "]", "}":
      let opening: Unicode.Scalar = symbol == ")" ? "(" : symbol == "]" ? "[" : "{"
      guard brackets.popLast() == opening else {
        throw syntaxError("\"\(symbol)\" without its opening bracket")
      }
    default: break
    }
  }

  private func text(_ range: Range<Int>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: source[range])
    return String(view)
  }

  private mutating func readName() throws(ChatTemplateError) -> String {
    var end = position + 1
    while end < source.count, source[end] == "_" || source[end].properties.isXIDContinue {
      end += 1
    }
    // Longer ones may be made to take long: comparing strings normalises them.
    guard end - position <= Self.longestName else {
      throw syntaxError("a name of more than \(Self.longestName) characters")
    }
    let name = text(position..<end)
    advance(end - position)
    return name
  }

  // MARK: Numbers

  /// The end of digits with single underscores between them.
  private func endOfDigits(
    _ place: Int, _ isDigit: (Unicode.Scalar) -> Bool = { ("0"..."9").contains($0) }
  ) -> Int {
    var end = place
    while end < source.count {
      if isDigit(source[end]) {
        end += 1
      } else if end > place, source[end] == "_", end + 1 < source.count, isDigit(source[end + 1]) {
        end += 2
      } else {
        break
      }
    }
    return end
  }

  private mutating func readNumber() throws(ChatTemplateError) -> TemplateToken.Kind {
    if source[position] == "0", position + 1 < source.count,
      let value = try readPrefixedNumber(source[position + 1])
    {
      return .integer(value)
    }
    var end = endOfDigits(position)
    // After a point only whole numbers can come, as in `pairs.0.1`.
    let canHavePoint = position == 0 || source[position - 1] != "."
    var isWhole = true
    if canHavePoint, end + 1 < source.count, source[end] == "." {
      let fraction = endOfDigits(end + 1)
      if fraction > end + 1 { (end, isWhole) = (fraction, false) }
    }
    if canHavePoint, end < source.count, source[end] == "e" || source[end] == "E" {
      var place = end + 1
      if place < source.count, source[place] == "+" || source[place] == "-" { place += 1 }
      let exponent = endOfDigits(place)
      if exponent > place { (end, isWhole) = (exponent, false) }
    }
    if isWhole, source[position] == "0" {
      // Python has no numbers with leading zeros.
      end = position + 1
      while end < source.count, source[end] == "0" { end += 1 }
    }
    let digits = text(position..<end).filter { $0 != "_" }
    advance(end - position)
    if isWhole, let value = Int(digits) { return .integer(value) }
    if !isWhole, let value = Double(digits) { return .number(value) }
    throw syntaxError("the number \(digits) is too large")
  }

  private mutating func readPrefixedNumber(
    _ letter: Unicode.Scalar
  ) throws(ChatTemplateError) -> Int? {
    let radix: Int
    switch letter {
    case "b", "B": radix = 2
    case "o", "O": radix = 8
    case "x", "X": radix = 16
    default: return nil
    }
    let end = endOfDigits(position + 2) {
      Character($0).hexDigitValue.map { $0 < radix } ?? false
    }
    guard end > position + 2 else { return nil }
    let digits = text(position + 2..<end).filter { $0 != "_" }
    guard let value = Int(digits, radix: radix) else {
      throw syntaxError("the number \(digits) is too large")
    }
    advance(end - position)
    return value
  }

  // MARK: Strings

  private mutating func readString(quote: Unicode.Scalar) throws(ChatTemplateError) -> String {
    let start = line
    advance(1)
    var text = String.UnicodeScalarView()
    while position < source.count, source[position] != quote {
      guard source[position] == "\\" else {
        text.append(source[position])
        advance(1)
        continue
      }
      guard position + 1 < source.count else { break }
      try readEscape(into: &text)
    }
    guard position < source.count else {
      throw ChatTemplateError(.syntax, line: start, "a string that does not end")
    }
    advance(1)
    return String(text)
  }

  private mutating func readEscape(
    into text: inout String.UnicodeScalarView
  ) throws(ChatTemplateError) {
    let escape = source[position + 1]
    advance(2)
    switch escape {
    case "n": text.append("\n")
    case "t": text.append("\t")
    case "r": text.append("\r")
    case "a": text.append("\u{7}")
    case "b": text.append("\u{8}")
    case "f": text.append("\u{C}")
    case "v": text.append("\u{B}")
    case "\\", "'", "\"": text.append(escape)
    case "\n": break
    case "x", "u", "U":
      try readScalar(digits: escape == "x" ? 2 : escape == "u" ? 4 : 8, into: &text)
    case "0"..."7":
      var value = escape.value - 48
      for _ in 0..<2 where position < source.count && ("0"..."7").contains(source[position]) {
        value = value * 8 + source[position].value - 48
        advance(1)
      }
      text.append(Unicode.Scalar(value) ?? "\u{FFFD}")
    case "N":
      throw ChatTemplateError(.unsupported, line: line, "the escape \\N in a string")
    default:
      // Python keeps the backslash of an escape that it does not know.
      text.append("\\")
      text.append(escape)
    }
  }

  private mutating func readScalar(
    digits count: Int, into text: inout String.UnicodeScalarView
  ) throws(ChatTemplateError) {
    let digits = self.text(position..<min(source.count, position + count))
    guard digits.utf8.count == count, digits.allSatisfy(\.isHexDigit),
      let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value)
    else {
      throw syntaxError("\\\(count == 2 ? "x" : count == 4 ? "u" : "U") without its digits")
    }
    text.append(scalar)
    advance(count)
  }
}
