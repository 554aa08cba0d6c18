/// The rules of JSON itself.
///
/// Stricter than RFC 8259 where freedom is of no use: blank space is one blank, or a line end and up to
/// 20 blanks; numbers have at most 16 digits before the point, as many behind it, and an exponent of two
/// digits, so that every reader holds them; escapes are no halves of surrogate pairs. Strings are UTF-8.
extension GrammarBuilder {
  static func bytes(_ ranges: ClosedRange<UInt8>...) -> Grammar.Element {
    var set = ByteSet()
    for range in ranges { set.formUnion(ByteSet(range)) }
    return .bytes(set)
  }

  static func character(_ character: Unicode.Scalar) -> Grammar.Element {
    let byte = UInt8(ascii: character)
    return .bytes(ByteSet(byte...byte))
  }

  mutating func space() throws(GrammarError) -> Grammar.Element {
    try once("space") { builder throws(GrammarError) in
      let blanks = try builder.repeated(
        Self.bytes(0x20...0x20, 0x09...0x09), least: 0, most: 20)
      return [[], [Self.character(" ")], [Self.character("\n")] + blanks]
    }
  }

  /// One character of a string, escaped or as it stands.
  mutating func stringCharacter() throws(GrammarError) -> Grammar.Element {
    try once("character") { _ throws(GrammarError) in
      let follow = Self.bytes(0x80...0xBF)
      let digit = Self.bytes(0x30...0x39, 0x41...0x46, 0x61...0x66)
      let notSurrogate = Self.bytes(0x30...0x39, 0x41...0x43, 0x45...0x46, 0x61...0x63, 0x65...0x66)
      let escape = Self.character("\\")
      return [
        [Self.bytes(0x20...0x21, 0x23...0x5B, 0x5D...0x7E)],
        [Self.bytes(0xC2...0xDF), follow],
        [Self.bytes(0xE0...0xE0), Self.bytes(0xA0...0xBF), follow],
        [Self.bytes(0xE1...0xEC, 0xEE...0xEF), follow, follow],
        [Self.bytes(0xED...0xED), Self.bytes(0x80...0x9F), follow],
        [Self.bytes(0xF0...0xF0), Self.bytes(0x90...0xBF), follow, follow],
        [Self.bytes(0xF1...0xF3), follow, follow, follow],
        [Self.bytes(0xF4...0xF4), Self.bytes(0x80...0x8F), follow, follow],
        [
          escape,
          Self.bytes(
            0x22...0x22, 0x2F...0x2F, 0x5C...0x5C, 0x62...0x62, 0x66...0x66, 0x6E...0x6E,
            0x72...0x72, 0x74...0x74),
        ],
        [escape, Self.character("u"), notSurrogate, digit, digit, digit],
        [
          escape, Self.character("u"), Self.bytes(0x44...0x44, 0x64...0x64),
          Self.bytes(0x30...0x37), digit, digit,
        ],
      ]
    }
  }

  mutating func string(least: Int = 0, most: Int? = nil) throws(GrammarError) -> Grammar.Element {
    try once("string \(least) \(most ?? -1)") { builder throws(GrammarError) in
      let characters = try builder.repeated(
        builder.stringCharacter(), least: least, most: most)
      return [[Self.character("\"")] + characters + [Self.character("\"")]]
    }
  }

  mutating func integer(isNegativeAllowed: Bool = true) throws(GrammarError) -> Grammar.Element {
    try once("integer \(isNegativeAllowed)") { builder throws(GrammarError) in
      let more = try builder.repeated(Self.bytes(0x30...0x39), least: 0, most: 15)
      let forms = [[Self.character("0")], [Self.bytes(0x31...0x39)] + more]
      return isNegativeAllowed ? forms + forms.map { [Self.character("-")] + $0 } : forms
    }
  }

  mutating func number(isNegativeAllowed: Bool = true) throws(GrammarError) -> Grammar.Element {
    try once("number \(isNegativeAllowed)") { builder throws(GrammarError) in
      let digit = Self.bytes(0x30...0x39)
      let whole = try builder.integer(isNegativeAllowed: isNegativeAllowed)
      let fraction =
        [Self.character(".")] + (try builder.repeated(digit, least: 1, most: 16))
      let exponent = try builder.rule([
        [],
        [Self.bytes(0x45...0x45, 0x65...0x65)]
          + [try builder.rule([[], [Self.bytes(0x2B...0x2B, 0x2D...0x2D)]])]
          + (try builder.repeated(digit, least: 1, most: 2)),
      ])
      return [[whole, exponent], [whole] + fraction + [exponent]]
    }
  }

  /// Any value.
  mutating func value() throws(GrammarError) -> Grammar.Element {
    try once("value") { builder throws(GrammarError) in
      [
        [try builder.object()], [try builder.array()], [try builder.string()],
        [try builder.number()], Self.literal("true"), Self.literal("false"), Self.literal("null"),
      ]
    }
  }

  /// Any object.
  mutating func object() throws(GrammarError) -> Grammar.Element {
    try once("object") { builder throws(GrammarError) in
      [try builder.object(of: try builder.value())]
    }
  }

  /// An object of any keys whose values are such.
  mutating func object(of value: Grammar.Element) throws(GrammarError) -> [Grammar.Element] {
    let space = try space()
    let member = try rule([[try string(), Self.character(":"), space, value]])
    let following = try rule([[Self.character(","), space, member]])
    let members = try rule([[], [member] + (try repeated(following, least: 0, most: nil))])
    return [Self.character("{"), space, members, space, Self.character("}")]
  }

  /// Any list.
  mutating func array() throws(GrammarError) -> Grammar.Element {
    try once("array") { builder throws(GrammarError) in
      [try builder.array(of: try builder.value(), least: 0, most: nil)]
    }
  }

  /// A list of such values.
  mutating func array(
    of value: Grammar.Element, least: Int, most: Int?
  ) throws(GrammarError) -> [Grammar.Element] {
    let space = try space()
    let following = try rule([[Self.character(","), space, value]])
    let open = [Self.character("["), space]
    let close = [space, Self.character("]")]
    if most == 0 { return open + close }
    let some =
      [value] + (try repeated(following, least: max(0, least - 1), most: most.map { $0 - 1 }))
    return least > 0 ? open + some + close : open + [try rule([[], some])] + close
  }
}

extension Grammar {
  /// Any JSON object.
  package static func jsonObject() throws(GrammarError) -> Grammar {
    var builder = GrammarBuilder()
    let object = try builder.object()
    let start = try builder.rule([[object]])
    return try builder.grammar(start: start)
  }
}

extension GrammarBuilder {
  func grammar(start: Grammar.Element) throws(GrammarError) -> Grammar {
    guard case .rule(let index) = start else { throw .unsatisfiable }
    return try Grammar(rules: rules, start: index)
  }
}
