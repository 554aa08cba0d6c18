/// Operands of expressions, and the members, calls, filters and tests behind them.
extension TemplateParser {
  /// The longest chain of members, calls, filters and tests.
  private static let longestChain = 200

  mutating func readPrimary() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    let form: TemplateExpression.Form
    switch token {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": form = .bool(true)
      case "false", "False": form = .bool(false)
      case "none", "None": form = .none
      default:
        mention(name)
        form = .name(name)
      }
    case .string(var text):
      advance()
      while case .string(let more) = token {
        text += more
        advance()
      }
      form = .text(TemplateText(text))
    case .integer(let value):
      advance()
      form = .integer(value)
    case .number(let value):
      advance()
      form = .number(value)
    case .symbol("("):
      advance()
      let value = try nested { (parser) throws(ChatTemplateError) in
        try parser.readTuple(allowsEmpty: true)
      }
      try expect(symbol: ")")
      return value
    case .symbol("["): form = try readList()
    case .symbol("{"): form = try readObject()
    default: throw expected("an expression")
    }
    return TemplateExpression(form: form, line: start)
  }

  private mutating func readList() throws(ChatTemplateError) -> TemplateExpression.Form {
    try expect(symbol: "[")
    var elements: [TemplateExpression] = []
    while !isNext(symbol: "]") {
      elements.append(try readExpression())
      guard take(symbol: ",") else { break }
    }
    try expect(symbol: "]")
    return .list(elements)
  }

  private mutating func readObject() throws(ChatTemplateError) -> TemplateExpression.Form {
    try expect(symbol: "{")
    var members: [(key: TemplateExpression, value: TemplateExpression)] = []
    while !isNext(symbol: "}") {
      let key = try readExpression()
      try expect(symbol: ":")
      members.append((key, try readExpression()))
      guard take(symbol: ",") else { break }
    }
    try expect(symbol: "}")
    return .object(members)
  }

  // MARK: Chains

  private func checkChain(_ length: Int) throws(ChatTemplateError) {
    if length > Self.longestChain {
      throw unsupported("a chain of more than \(Self.longestChain) members, calls and filters")
    }
  }

  mutating func readPostfix(
    after value: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    var value = value
    var length = 0
    while true {
      let start = line
      if take(symbol: ".") {
        switch token {
        case .name(let name): value = TemplateExpression(form: .member(value, name), line: start)
        case .integer(let index):
          let index = TemplateExpression(form: .integer(index), line: start)
          value = TemplateExpression(form: .element(value, index), line: start)
        default: throw expected("a name or a number")
        }
        advance()
      } else if take(symbol: "[") {
        value = try readSubscript(of: value, line: start)
      } else if isNext(symbol: "(") {
        value = TemplateExpression(form: .call(value, try readArguments()), line: start)
      } else {
        return value
      }
      length += 1
      try checkChain(length)
    }
  }

  private mutating func readSubscript(
    of value: TemplateExpression, line start: Int
  ) throws(ChatTemplateError) -> TemplateExpression {
    var bounds: [TemplateExpression?] = [nil, nil, nil]
    var index = 0
    while !isNext(symbol: "]") {
      if take(symbol: ":") {
        index += 1
        guard index < 3 else { throw syntaxError("a slice has at most three parts") }
        continue
      }
      guard bounds[index] == nil else { break }
      bounds[index] = try readExpression()
      if index == 0, isNext(symbol: ",") {
        bounds[0] = try readIndexTuple(after: bounds[0], line: start)
        break
      }
    }
    try expect(symbol: "]")
    if index > 0 {
      return TemplateExpression(
        form: .slice(value, from: bounds[0], to: bounds[1], by: bounds[2]), line: start)
    }
    guard let key = bounds[0] else { throw syntaxError("an empty subscript") }
    return TemplateExpression(form: .element(value, key), line: start)
  }

  private mutating func readIndexTuple(
    after first: TemplateExpression?, line start: Int
  ) throws(ChatTemplateError) -> TemplateExpression {
    var elements = first.map { [$0] } ?? []
    while take(symbol: ",") { elements.append(try readExpression()) }
    return TemplateExpression(form: .tuple(elements), line: start)
  }

  mutating func readFiltersAndTests(
    after value: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    var value = value
    var length = 0
    while true {
      let start = line
      if take(symbol: "|") {
        value = try readFilter(after: value)
      } else if take(keyword: "is") {
        value = try readTest(of: value, line: start)
      } else if isNext(symbol: "(") {
        value = TemplateExpression(form: .call(value, try readArguments()), line: start)
      } else {
        return value
      }
      length += 1
      try checkChain(length)
    }
  }

  /// Filters alone, each with its "|".
  mutating func readFilters(
    after value: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    var value = value
    var length = 0
    while take(symbol: "|") {
      value = try readFilter(after: value)
      length += 1
      try checkChain(length)
    }
    return value
  }

  /// A filter's name and arguments.
  mutating func readFilter(
    after value: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    let name = try readDottedName()
    let arguments = isNext(symbol: "(") ? try readArguments() : TemplateArgumentSyntax()
    return TemplateExpression(form: .filter(value, name, arguments), line: start)
  }

  private mutating func readDottedName() throws(ChatTemplateError) -> String {
    var name = try expectName()
    while take(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  private mutating func readTest(
    of value: TemplateExpression, line start: Int
  ) throws(ChatTemplateError) -> TemplateExpression {
    let isNegated = take(keyword: "not")
    let name = try readDottedName()
    var arguments = TemplateArgumentSyntax()
    if isNext(symbol: "(") {
      arguments = try readArguments()
    } else if isArgumentOfTest {
      if isNext(keyword: "is") { throw syntaxError("a test after a test needs brackets") }
      arguments.positional = [try readPostfix(after: readPrimary())]
    }
    let test = TemplateExpression(form: .test(value, name, arguments), line: start)
    return isNegated ? TemplateExpression(form: .not(test), line: start) : test
  }

  /// Whether an argument without brackets follows, as in `is divisibleby 3`.
  private var isArgumentOfTest: Bool {
    switch token {
    case .name(let name): !["else", "or", "and"].contains(name)
    case .string, .integer, .number: true
    case .symbol(let symbol): symbol == "[" || symbol == "{"
    default: false
    }
  }

  // MARK: Arguments

  private mutating func readArguments() throws(ChatTemplateError) -> TemplateArgumentSyntax {
    var arguments = TemplateArgumentSyntax()
    try expect(symbol: "(")
    while !isNext(symbol: ")") {
      let hasRest = arguments.positionalRest != nil || arguments.namedRest != nil
      if take(symbol: "*") {
        guard !hasRest else { throw syntaxError("\"*\" after \"*\" in a call") }
        arguments.positionalRest = try readExpression()
      } else if take(symbol: "**") {
        guard arguments.namedRest == nil else { throw syntaxError("\"**\" twice in a call") }
        arguments.namedRest = try readExpression()
      } else if case .name(let name) = token, case .symbol("=") = nextToken {
        guard arguments.namedRest == nil else { throw syntaxError("an argument after \"**\"") }
        advance()
        advance()
        arguments.named.append((name, try readExpression()))
      } else {
        guard !hasRest, arguments.named.isEmpty else {
          throw syntaxError("an argument without a name after one that has one")
        }
        arguments.positional.append(try readExpression())
      }
      guard take(symbol: ",") else { break }
    }
    try expect(symbol: ")")
    return arguments
  }
}
