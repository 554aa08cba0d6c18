/// Collects the rules of a grammar.
struct GrammarBuilder {
  private(set) var rules: [[[Grammar.Element]]] = []
  private var named: [String: Int] = [:]

  /// A rule with these alternatives.
  mutating func rule(_ alternatives: [[Grammar.Element]]) throws(GrammarError) -> Grammar.Element {
    guard rules.count < Grammar.mostRules else {
      throw .tooLarge("has more than \(Grammar.mostRules) rules")
    }
    rules.append(alternatives)
    return .rule(rules.count - 1)
  }

  /// A rule that gets its alternatives later, by ``define(_:_:)``: it may refer to itself.
  mutating func declare() throws(GrammarError) -> Grammar.Element { try rule([]) }

  mutating func define(_ element: Grammar.Element, _ alternatives: [[Grammar.Element]]) {
    if case .rule(let index) = element { rules[index] = alternatives }
  }

  /// A rule that is made once.
  mutating func once(
    _ name: String, _ make: (inout GrammarBuilder) throws(GrammarError) -> [[Grammar.Element]]
  ) throws(GrammarError) -> Grammar.Element {
    if let index = named[name] { return .rule(index) }
    let element = try declare()
    if case .rule(let index) = element { named[name] = index }
    define(element, try make(&self))
    return element
  }

  /// A text as it stands.
  static func literal(_ text: String) -> [Grammar.Element] {
    text.utf8.map { .bytes(ByteSet($0...$0)) }
  }

  /// From `least` to `most` times an element; nil for any number.
  mutating func repeated(
    _ element: Grammar.Element, least: Int, most: Int?
  ) throws(GrammarError) -> [Grammar.Element] {
    var tail: [Grammar.Element] = []
    if let most {
      for _ in 0..<max(0, most - least) { tail = [try rule([[element] + tail, []])] }
    } else {
      let more = try declare()
      define(more, [[element, more], []])
      tail = [more]
    }
    guard least <= 1024 else { throw .tooLarge("asks for \(least) repetitions") }
    return Array(repeating: element, count: least) + tail
  }
}
