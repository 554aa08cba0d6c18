/// Which program's regular expressions these are; they differ in few places.
package enum ExpressionDialect: Sendable {
  /// Hugging Face's `tokenizers`: `^` and `$` are about lines, `{m,n}+` repeats a repetition.
  case oniguruma
  /// tiktoken: `^` and `$` are about the text, `{m,n}+` is possessive.
  case fancyRegex
}

/// Reads a regular expression.
///
/// Known are literals and escapes, classes (nested, negated, with `&&`), `\p{…}` of general categories and
/// scripts, `\d \s \w \h \R`, groups, `(?i:…)`, alternatives, counts (greedy, lazy, possessive on one scalar),
/// looking ahead, looking behind at a fixed length, anchors and word boundaries. Everything else is refused
/// by name.
/// Source: the manuals of Oniguruma (doc/RE) and of the fancy-regex and regex crates.
struct PatternParser {
  /// The longest expression that is read, in scalars.
  static let longestExpression = 20_000
  private static let deepestNesting = 50
  private static let largestCount = 1_000

  private struct Flags {
    var ignoresCase = false
    var dotMatchesLineBreak = false
    var isExtended = false
  }

  private let scalars: [UInt32]
  private let dialect: ExpressionDialect
  private var position = 0
  private var flags = Flags()
  private var depth = 0
  /// The properties read so far, by name.
  private var properties: [String: ScalarSet] = [:]

  private init(_ expression: String, _ dialect: ExpressionDialect) {
    scalars = expression.unicodeScalars.map(\.value)
    self.dialect = dialect
  }

  /// - Throws: `SplitExpressionError` that names what is not understood and where.
  static func parse(
    _ expression: String, dialect: ExpressionDialect
  ) throws(SplitExpressionError) -> PatternNode {
    var parser = PatternParser(expression, dialect)
    guard parser.scalars.count <= longestExpression else {
      throw SplitExpressionError(
        problem:
          "has \(parser.scalars.count) characters, past the limit of \(longestExpression)")
    }
    let node = try parser.readAlternatives()
    if parser.position < parser.scalars.count { throw parser.error("has a \")\" too many") }
    return node
  }

  private func error(_ problem: String) -> SplitExpressionError {
    SplitExpressionError(problem: "\(problem) at character \(position)")
  }

  private var next: UInt32? { position < scalars.count ? scalars[position] : nil }

  private func at(_ offset: Int) -> UInt32? {
    position + offset < scalars.count ? scalars[position + offset] : nil
  }

  private mutating func take(_ text: StaticString) -> Bool {
    let length = text.utf8CodeUnitCount
    guard position + length <= scalars.count else { return false }
    let matches = text.withUTF8Buffer { bytes in
      bytes.indices.allSatisfy { scalars[position + $0] == UInt32(bytes[$0]) }
    }
    if matches { position += length }
    return matches
  }

  private mutating func takeScalar() throws(SplitExpressionError) -> UInt32 {
    guard let next else { throw error("ends too early") }
    position += 1
    return next
  }

  // MARK: Structure

  private mutating func readAlternatives() throws(SplitExpressionError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepestNesting {
      throw error("is nested more than \(Self.deepestNesting) deep")
    }
    // A flag set within a group holds to its end, over further alternatives too.
    let outer = flags
    defer { flags = outer }
    var alternatives = [try readSequence()]
    while take("|") { alternatives.append(try readSequence()) }
    return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
  }

  private mutating func readSequence() throws(SplitExpressionError) -> PatternNode {
    var nodes: [PatternNode] = []
    while let next, next != UInt32(ascii: "|"), next != UInt32(ascii: ")") {
      if flags.isExtended, skipExtended() { continue }
      guard let atom = try readAtom() else { continue }
      nodes.append(try readCounts(of: atom))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  /// Takes white space or a comment where the flag `x` is set.
  private mutating func skipExtended() -> Bool {
    guard let next else { return false }
    if next == 0x20 || (0x09...0x0D).contains(next) {
      position += 1
      return true
    }
    guard next == UInt32(ascii: "#") else { return false }
    while let next = self.next, next != 0x0A { _ = (position += 1, next) }
    return true
  }

  /// One atom without its counts; nil for what is nothing, such as a flag.
  private mutating func readAtom() throws(SplitExpressionError) -> PatternNode? {
    let scalar = try takeScalar()
    switch scalar {
    case UInt32(ascii: "("): return try readGroup()
    case UInt32(ascii: "["): return .set(try readClass())
    case UInt32(ascii: "."): return .set(dot)
    case UInt32(ascii: "^"):
      return .anchor(dialect == .oniguruma ? .lineStart : .textStart)
    case UInt32(ascii: "$"): return .anchor(dialect == .oniguruma ? .lineEnd : .textEnd)
    case UInt32(ascii: "\\"): return try readEscape()
    case UInt32(ascii: "*"), UInt32(ascii: "+"), UInt32(ascii: "?"):
      throw error("repeats nothing")
    default: return .set(literal(scalar))
    }
  }

  private var dot: ScalarSet {
    flags.dotMatchesLineBreak ? .all : ScalarSet(0x0A).inverted
  }

  private func literal(_ scalar: UInt32) -> ScalarSet {
    flags.ignoresCase ? ScalarProperties.caseVariants(of: scalar) : ScalarSet(scalar)
  }

  private mutating func readGroup() throws(SplitExpressionError) -> PatternNode? {
    func closed(_ node: PatternNode, _ parser: inout PatternParser) throws(SplitExpressionError)
      -> PatternNode
    {
      guard parser.take(")") else { throw parser.error("lacks a \")\"") }
      return node
    }
    guard take("?") else { return try closed(readAlternatives(), &self) }
    if take("#") {
      while let next, next != UInt32(ascii: ")") { _ = (position += 1, next) }
      guard take(")") else { throw error("lacks a \")\"") }
      return nil
    }
    if take("=") {
      return try closed(.look(readAlternatives(), behind: false, negative: false), &self)
    }
    if take("!") {
      return try closed(.look(readAlternatives(), behind: false, negative: true), &self)
    }
    if take("<=") { return try closed(lookBehind(negative: false), &self) }
    if take("<!") { return try closed(lookBehind(negative: true), &self) }
    if take(">") { throw error("has an atomic group, which is not supported,") }
    if take("P<") || take("<") {
      while let next, next != UInt32(ascii: ">") { _ = (position += 1, next) }
      guard take(">") else { throw error("lacks a \">\"") }
      return try closed(readAlternatives(), &self)
    }

    var changed = flags
    var isOn = true
    while true {
      let flag = try takeScalar()
      switch flag {
      case UInt32(ascii: "-"): isOn = false
      case UInt32(ascii: "i"): changed.ignoresCase = isOn
      case UInt32(ascii: "x"): changed.isExtended = isOn
      case UInt32(ascii: "m") where dialect == .oniguruma,
        UInt32(ascii: "s") where dialect == .fancyRegex:
        changed.dotMatchesLineBreak = isOn
      case UInt32(ascii: "u") where dialect == .fancyRegex && isOn: break
      case UInt32(ascii: ")"):
        flags = changed
        // In Oniguruma what follows, alternatives included, is within the flag's group.
        if dialect == .oniguruma { return try readAlternatives() }
        return nil
      case UInt32(ascii: ":"):
        let outer = flags
        defer { flags = outer }
        flags = changed
        return try closed(readAlternatives(), &self)
      default:
        position -= 1
        throw error("has a group of a kind that is not supported")
      }
    }
  }

  private mutating func lookBehind(negative: Bool) throws(SplitExpressionError) -> PatternNode {
    let body = try readAlternatives()
    let parts = if case .alternatives(let parts) = body { parts } else { [body] }
    guard parts.allSatisfy({ $0.fixedLength != nil }) else {
      throw error("looks behind at a text of no fixed length, which is not supported,")
    }
    return .look(body, behind: true, negative: negative)
  }

  // MARK: Counts

  private mutating func readCounts(of atom: PatternNode) throws(SplitExpressionError) -> PatternNode
  {
    var node = atom
    while let next {
      var minimum = 0
      var maximum: Int?
      var isInterval = false
      switch next {
      case UInt32(ascii: "*"): position += 1
      case UInt32(ascii: "+"):
        minimum = 1
        position += 1
      case UInt32(ascii: "?"):
        maximum = 1
        position += 1
      case UInt32(ascii: "{"):
        guard let interval = try readInterval() else { return node }
        (minimum, maximum) = interval
        isInterval = true
      default: return node
      }
      node = try repeated(node, minimum, maximum, isInterval: isInterval)
    }
    return node
  }

  private mutating func repeated(
    _ body: PatternNode, _ minimum: Int, _ maximum: Int?, isInterval: Bool
  ) throws(SplitExpressionError) -> PatternNode {
    var preference = PatternNode.Preference.greedy
    if take("?") {
      if isInterval, minimum == maximum, dialect == .oniguruma {
        // `{n}?` is an optional repetition there.
        let fixed = PatternNode.repeated(body, minimum: minimum, maximum: maximum, .greedy)
        return .repeated(fixed, minimum: 0, maximum: 1, .greedy)
      }
      preference = .lazy
    } else if !(isInterval && dialect == .oniguruma), take("+") {
      preference = .possessive
    }
    if maximum == nil, body.isNullable {
      throw error("repeats without end what may match nothing")
    }
    if preference == .possessive {
      guard case .set = body else {
        throw error("repeats a group possessively, which is not supported,")
      }
    }
    return .repeated(body, minimum: minimum, maximum: maximum, preference)
  }

  /// `{n}`, `{n,}`, `{n,m}` or `{,m}`; nil, at the brace, for a literal brace.
  private mutating func readInterval() throws(SplitExpressionError) -> (Int, Int?)? {
    let start = position
    position += 1
    let minimum = readNumber()
    var maximum = minimum
    if take(",") {
      maximum = readNumber()
      if minimum == nil, maximum == nil {
        position = start
        return try literalBrace()
      }
    }
    guard take("}"), minimum != nil || maximum != nil else {
      position = start
      return try literalBrace()
    }
    let lower = minimum ?? 0
    guard lower <= Self.largestCount, maximum ?? 0 <= Self.largestCount else {
      throw error("counts past the limit of \(Self.largestCount)")
    }
    if let maximum, maximum < lower { throw error("counts from \(lower) to \(maximum)") }
    return (lower, maximum)
  }

  private func literalBrace() throws(SplitExpressionError) -> (Int, Int?)? {
    if dialect == .fancyRegex { throw error("has a \"{\" that begins no count") }
    return nil
  }

  private mutating func readNumber() -> Int? {
    var value: Int?
    while let next, (0x30...0x39).contains(next) {
      value = min(1_000_000, (value ?? 0) * 10 + Int(next - 0x30))
      position += 1
    }
    return value
  }

  // MARK: Escapes

  private mutating func readEscape() throws(SplitExpressionError) -> PatternNode {
    switch next {
    case UInt32(ascii: "b"):
      position += 1
      return .anchor(.wordBoundary)
    case UInt32(ascii: "B"):
      position += 1
      return .anchor(.noWordBoundary)
    case UInt32(ascii: "A"):
      position += 1
      return .anchor(.textStart)
    case UInt32(ascii: "z"):
      position += 1
      return .anchor(.textEnd)
    case UInt32(ascii: "Z"):
      position += 1
      return .anchor(.textEndOrLastLineBreak)
    case UInt32(ascii: "R"):
      position += 1
      return .alternatives([
        .sequence([.set(ScalarSet(0x0D)), .set(ScalarSet(0x0A))]),
        .set(ScalarSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])),
      ])
    case UInt32(ascii: "N") where dialect == .oniguruma:
      position += 1
      return .set(ScalarSet(0x0A).inverted)
    case UInt32(ascii: "O") where dialect == .oniguruma:
      position += 1
      return .set(.all)
    default: return .set(try readSetEscape(inClass: false))
    }
  }

  /// What follows a backslash and is one scalar of a set.
  private mutating func readSetEscape(inClass: Bool) throws(SplitExpressionError) -> ScalarSet {
    let scalar = try takeScalar()
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
      position -= 1
      return literal(try readScalarEscape(inClass: inClass))
    }
  }

  private static let hexadecimalDigits = ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])

  private mutating func readProperty(isNegative: Bool) throws(SplitExpressionError) -> ScalarSet {
    var isNegative = isNegative
    var name = String.UnicodeScalarView()
    let first = try takeScalar()
    if first == UInt32(ascii: "{") {
      if take("^") { isNegative.toggle() }
      while let next, next != UInt32(ascii: "}"), name.count < 64 {
        if let scalar = Unicode.Scalar(next) { name.append(scalar) }
        position += 1
      }
      guard take("}") else { throw error("lacks a \"}\"") }
    } else if let scalar = Unicode.Scalar(first) {
      name.append(scalar)
    }
    guard let set = properties[String(name)] ?? ScalarProperties.set(named: String(name)) else {
      throw error("names the property \"\(String(name))\", which is not known,")
    }
    properties[String(name)] = set
    if flags.ignoresCase, ["lu", "ll", "lt"].contains(String(name).lowercased()) {
      throw error("ignores the case of \\p{\(String(name))}, which is not supported,")
    }
    return isNegative ? set.inverted : set
  }

  /// One scalar by escape.
  private mutating func readScalarEscape(inClass: Bool) throws(SplitExpressionError) -> UInt32 {
    let scalar = try takeScalar()
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
      if take("{") {
        let value = readHexadecimal(atMost: 8)
        guard let value, take("}"), value <= ScalarSet.largestScalar else {
          throw error("has a number that is no character")
        }
        return value
      }
      let digits = scalar == UInt32(ascii: "x") ? 2 : scalar == UInt32(ascii: "u") ? 4 : 8
      guard let value = readHexadecimal(atMost: digits), value <= ScalarSet.largestScalar else {
        throw error("has a number that is no character")
      }
      return value
    default:
      let isLetter = scalar < 0x80 && Unicode.Scalar(scalar)?.properties.isAlphabetic == true
      if isLetter || (0x31...0x39).contains(scalar) {
        let name = Unicode.Scalar(scalar).map { String(Character($0)) } ?? ""
        throw error("has the escape \"\\\(name)\", which is not supported,")
      }
      return scalar
    }
  }

  private mutating func readHexadecimal(atMost digits: Int) -> UInt32? {
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

  // MARK: Classes

  /// A class after its opening bracket.
  private mutating func readClass() throws(SplitExpressionError) -> ScalarSet {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepestNesting {
      throw error("is nested more than \(Self.deepestNesting) deep")
    }
    let isNegative = take("^")
    var intersected: ScalarSet?
    var ranges: [ClosedRange<UInt32>] = []
    var isFirst = true
    while true {
      guard let next else { throw error("lacks a \"]\"") }
      if next == UInt32(ascii: "]"), !isFirst {
        position += 1
        break
      }
      isFirst = false
      if take("&&") {
        let set = ScalarSet(ranges)
        intersected = intersected?.intersection(set) ?? set
        ranges = []
        continue
      }
      if take("[:") {
        ranges += try readBracketName().ranges
      } else if take("[") {
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
  private mutating func readClassItem() throws(SplitExpressionError) -> ScalarSet {
    var lower = try takeScalar()
    if lower == UInt32(ascii: "\\") {
      switch next {
      case UInt32(ascii: "d"), UInt32(ascii: "D"), UInt32(ascii: "s"), UInt32(ascii: "S"),
        UInt32(ascii: "w"), UInt32(ascii: "W"), UInt32(ascii: "h"), UInt32(ascii: "H"),
        UInt32(ascii: "p"), UInt32(ascii: "P"):
        return try readSetEscape(inClass: true)
      default: lower = try readScalarEscape(inClass: true)
      }
    }
    guard next == UInt32(ascii: "-"), let after = at(1), after != UInt32(ascii: "]"),
      after != UInt32(ascii: "[")
    else { return literal(lower) }
    position += 1
    var upper = try takeScalar()
    if upper == UInt32(ascii: "\\") {
      switch next {
      case UInt32(ascii: "p"), UInt32(ascii: "P"), UInt32(ascii: "d"), UInt32(ascii: "s"),
        UInt32(ascii: "w"):
        // `a-\d` is the two ends and a hyphen.
        return literal(lower).union(ScalarSet(0x2D)).union(try readSetEscape(inClass: true))
      default: upper = try readScalarEscape(inClass: true)
      }
    }
    guard lower <= upper else { throw error("has a range that descends") }
    let range = ScalarSet([lower...upper])
    guard flags.ignoresCase else { return range }
    guard upper - lower < 0x3000 else {
      throw error("ignores the case of a range that is too large")
    }
    return ScalarSet((lower...upper).flatMap { ScalarProperties.caseVariants(of: $0).ranges })
  }

  /// `[:name:]` after its first two characters.
  private mutating func readBracketName() throws(SplitExpressionError) -> ScalarSet {
    let isNegative = take("^")
    var name = ""
    while let next, next != UInt32(ascii: ":"), name.count < 16, let scalar = Unicode.Scalar(next) {
      name.unicodeScalars.append(scalar)
      position += 1
    }
    guard take(":]") else { throw error("lacks a \":]\"") }
    let set: ScalarSet
    switch name {
    case "digit": set = ScalarProperties.digits
    case "space": set = ScalarProperties.whiteSpace
    case "word": set = ScalarProperties.word
    case "xdigit": set = Self.hexadecimalDigits
    case "ascii": set = ScalarSet([0...0x7F])
    default: throw error("names the class \"\(name)\", which is not known,")
    }
    return isNegative ? set.inverted : set
  }
}

extension UInt32 {
  init(ascii scalar: Unicode.Scalar) { self = scalar.value }
}
