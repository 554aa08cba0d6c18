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
  static let deepestNesting = 50
  private static let largestCount = 1_000

  struct Flags {
    var ignoresCase = false
    var dotMatchesLineBreak = false
    var isExtended = false
  }

  private let dialect: ExpressionDialect
  var cursor: ExpressionCursor
  private(set) var flags = Flags()
  var depth = 0
  /// The properties read so far, by name.
  var properties: [String: ScalarSet] = [:]

  private init(_ expression: String, _ dialect: ExpressionDialect) {
    cursor = ExpressionCursor(expression)
    self.dialect = dialect
  }

  /// - Throws: `SplitExpressionError` that names what is not understood and where.
  static func parse(
    _ expression: String, dialect: ExpressionDialect
  ) throws(SplitExpressionError) -> PatternNode {
    var parser = PatternParser(expression, dialect)
    guard parser.cursor.count <= longestExpression else {
      throw SplitExpressionError(
        problem:
          "has \(parser.cursor.count) characters, past the limit of \(longestExpression)")
    }
    let node = try parser.readAlternatives()
    if parser.cursor.next != nil { throw parser.cursor.error("has a \")\" too many") }
    return node
  }

  // MARK: Structure

  private mutating func readAlternatives() throws(SplitExpressionError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepestNesting {
      throw cursor.error("is nested more than \(Self.deepestNesting) deep")
    }
    // A flag set within a group holds to its end, over further alternatives too.
    let outer = flags
    defer { flags = outer }
    var alternatives = [try readSequence()]
    while cursor.take("|") { alternatives.append(try readSequence()) }
    return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
  }

  private mutating func readSequence() throws(SplitExpressionError) -> PatternNode {
    var nodes: [PatternNode] = []
    while let next = cursor.next, next != UInt32(ascii: "|"), next != UInt32(ascii: ")") {
      if flags.isExtended, skipExtended() { continue }
      guard let atom = try readAtom() else { continue }
      nodes.append(try readCounts(of: atom))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  /// Takes white space or a comment where the flag `x` is set.
  private mutating func skipExtended() -> Bool {
    guard let next = cursor.next else { return false }
    if next == 0x20 || (0x09...0x0D).contains(next) {
      cursor.skip()
      return true
    }
    guard next == UInt32(ascii: "#") else { return false }
    cursor.skip(to: 0x0A)
    return true
  }

  /// One atom without its counts; nil for what is nothing, such as a flag.
  private mutating func readAtom() throws(SplitExpressionError) -> PatternNode? {
    let scalar = try cursor.takeScalar()
    switch scalar {
    case UInt32(ascii: "("): return try readGroup()
    case UInt32(ascii: "["): return .set(try readClass())
    case UInt32(ascii: "."): return .set(dot)
    case UInt32(ascii: "^"):
      return .anchor(dialect == .oniguruma ? .lineStart : .textStart)
    case UInt32(ascii: "$"): return .anchor(dialect == .oniguruma ? .lineEnd : .textEnd)
    case UInt32(ascii: "\\"): return try readEscape()
    case UInt32(ascii: "*"), UInt32(ascii: "+"), UInt32(ascii: "?"):
      throw cursor.error("repeats nothing")
    default: return .set(literal(scalar))
    }
  }

  private var dot: ScalarSet {
    flags.dotMatchesLineBreak ? .all : ScalarSet(0x0A).inverted
  }

  func literal(_ scalar: UInt32) -> ScalarSet {
    flags.ignoresCase ? ScalarProperties.caseVariants(of: scalar) : ScalarSet(scalar)
  }

  private mutating func readGroup() throws(SplitExpressionError) -> PatternNode? {
    func closed(_ node: PatternNode, _ parser: inout PatternParser) throws(SplitExpressionError)
      -> PatternNode
    {
      guard parser.cursor.take(")") else { throw parser.cursor.error("lacks a \")\"") }
      return node
    }
    guard cursor.take("?") else { return try closed(readAlternatives(), &self) }
    if cursor.take("#") {
      cursor.skip(to: UInt32(ascii: ")"))
      guard cursor.take(")") else { throw cursor.error("lacks a \")\"") }
      return nil
    }
    if cursor.take("=") {
      return try closed(.look(readAlternatives(), behind: false, negative: false), &self)
    }
    if cursor.take("!") {
      return try closed(.look(readAlternatives(), behind: false, negative: true), &self)
    }
    if cursor.take("<=") { return try closed(lookBehind(negative: false), &self) }
    if cursor.take("<!") { return try closed(lookBehind(negative: true), &self) }
    if cursor.take(">") { throw cursor.error("has an atomic group, which is not supported,") }
    if cursor.take("P<") || cursor.take("<") {
      cursor.skip(to: UInt32(ascii: ">"))
      guard cursor.take(">") else { throw cursor.error("lacks a \">\"") }
      return try closed(readAlternatives(), &self)
    }

    var changed = flags
    var isOn = true
    while true {
      let flag = try cursor.takeScalar()
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
        cursor.back()
        throw cursor.error("has a group of a kind that is not supported")
      }
    }
  }

  private mutating func lookBehind(negative: Bool) throws(SplitExpressionError) -> PatternNode {
    let body = try readAlternatives()
    let parts = if case .alternatives(let parts) = body { parts } else { [body] }
    guard parts.allSatisfy({ $0.fixedLength != nil }) else {
      throw cursor.error("looks behind at a text of no fixed length, which is not supported,")
    }
    return .look(body, behind: true, negative: negative)
  }

  private mutating func readEscape() throws(SplitExpressionError) -> PatternNode {
    switch cursor.next {
    case UInt32(ascii: "b"):
      cursor.skip()
      return .anchor(.wordBoundary)
    case UInt32(ascii: "B"):
      cursor.skip()
      return .anchor(.noWordBoundary)
    case UInt32(ascii: "A"):
      cursor.skip()
      return .anchor(.textStart)
    case UInt32(ascii: "z"):
      cursor.skip()
      return .anchor(.textEnd)
    case UInt32(ascii: "Z"):
      cursor.skip()
      return .anchor(.textEndOrLastLineBreak)
    case UInt32(ascii: "R"):
      cursor.skip()
      return .alternatives([
        .sequence([.set(ScalarSet(0x0D)), .set(ScalarSet(0x0A))]),
        .set(ScalarSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])),
      ])
    case UInt32(ascii: "N") where dialect == .oniguruma:
      cursor.skip()
      return .set(ScalarSet(0x0A).inverted)
    case UInt32(ascii: "O") where dialect == .oniguruma:
      cursor.skip()
      return .set(.all)
    default: return .set(try readSetEscape(inClass: false))
    }
  }

  // MARK: Counts

  private mutating func readCounts(of atom: PatternNode) throws(SplitExpressionError) -> PatternNode
  {
    var node = atom
    while let next = cursor.next {
      var minimum = 0
      var maximum: Int?
      var isInterval = false
      switch next {
      case UInt32(ascii: "*"): cursor.skip()
      case UInt32(ascii: "+"):
        minimum = 1
        cursor.skip()
      case UInt32(ascii: "?"):
        maximum = 1
        cursor.skip()
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
    if cursor.take("?") {
      if isInterval, minimum == maximum, dialect == .oniguruma {
        // `{n}?` is an optional repetition there.
        let fixed = PatternNode.repeated(body, minimum: minimum, maximum: maximum, .greedy)
        return .repeated(fixed, minimum: 0, maximum: 1, .greedy)
      }
      preference = .lazy
    } else if !(isInterval && dialect == .oniguruma), cursor.take("+") {
      preference = .possessive
    }
    if maximum == nil, body.isNullable {
      throw cursor.error("repeats without end what may match nothing")
    }
    if preference == .possessive {
      guard case .set = body else {
        throw cursor.error("repeats a group possessively, which is not supported,")
      }
    }
    return .repeated(body, minimum: minimum, maximum: maximum, preference)
  }

  /// `{n}`, `{n,}`, `{n,m}` or `{,m}`; nil, at the brace, for a literal brace.
  private mutating func readInterval() throws(SplitExpressionError) -> (Int, Int?)? {
    let start = cursor.position
    cursor.skip()
    let minimum = cursor.takeNumber()
    var maximum = minimum
    if cursor.take(",") {
      maximum = cursor.takeNumber()
      if minimum == nil, maximum == nil {
        cursor.go(to: start)
        return try literalBrace()
      }
    }
    guard cursor.take("}"), minimum != nil || maximum != nil else {
      cursor.go(to: start)
      return try literalBrace()
    }
    let lower = minimum ?? 0
    guard lower <= Self.largestCount, maximum ?? 0 <= Self.largestCount else {
      throw cursor.error("counts past the limit of \(Self.largestCount)")
    }
    if let maximum, maximum < lower { throw cursor.error("counts from \(lower) to \(maximum)") }
    return (lower, maximum)
  }

  private func literalBrace() throws(SplitExpressionError) -> (Int, Int?)? {
    if dialect == .fancyRegex { throw cursor.error("has a \"{\" that begins no count") }
    return nil
  }
}
