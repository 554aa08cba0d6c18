/// Expressions, loosest binding first: `x if c else y`, `or`, `and`, `not`, comparisons, `+ -`, `~`, `* / // %`,
/// signs, then members, calls, filters and tests.
extension TemplateParser {
  mutating func readExpression() throws(ChatTemplateError) -> TemplateExpression {
    try nested { (parser) throws(ChatTemplateError) in try parser.readConditional() }
  }

  private mutating func readConditional() throws(ChatTemplateError) -> TemplateExpression {
    var value = try readDisjunction()
    while take(keyword: "if") {
      let test = try readDisjunction()
      let otherwise = take(keyword: "else") ? try readExpression() : nil
      value = TemplateExpression(
        form: .conditional(test, then: value, otherwise: otherwise), line: value.line)
    }
    return value
  }

  mutating func readDisjunction() throws(ChatTemplateError) -> TemplateExpression {
    var left = try readConjunction()
    while take(keyword: "or") {
      left = TemplateExpression(form: .or(left, try readConjunction()), line: left.line)
    }
    return left
  }

  private mutating func readConjunction() throws(ChatTemplateError) -> TemplateExpression {
    var left = try readNegation()
    while take(keyword: "and") {
      left = TemplateExpression(form: .and(left, try readNegation()), line: left.line)
    }
    return left
  }

  private mutating func readNegation() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    guard take(keyword: "not") else { return try readComparison() }
    let operand = try nested { (parser) throws(ChatTemplateError) in try parser.readNegation() }
    return TemplateExpression(form: .negation(operand), line: start)
  }

  private mutating func readComparison() throws(ChatTemplateError) -> TemplateExpression {
    let left = try readSum()
    var operands: [(operation: String, operand: TemplateExpression)] = []
    while true {
      if case .symbol(let symbol) = token, ["==", "!=", "<", "<=", ">", ">="].contains(symbol) {
        advance()
        operands.append((symbol, try readSum()))
      } else if take(keyword: "in") {
        operands.append(("in", try readSum()))
      } else if token == .name("not"), nextToken == .name("in") {
        advance()
        advance()
        operands.append(("not in", try readSum()))
      } else {
        break
      }
    }
    return operands.isEmpty
      ? left : TemplateExpression(form: .comparison(left, operands), line: left.line)
  }

  private mutating func readSum() throws(ChatTemplateError) -> TemplateExpression {
    var left = try readConcatenation()
    while case .symbol(let symbol) = token, symbol == "+" || symbol == "-" {
      advance()
      left = TemplateExpression(
        form: .arithmetic(symbol, left, try readConcatenation()), line: left.line)
    }
    return left
  }

  private mutating func readConcatenation() throws(ChatTemplateError) -> TemplateExpression {
    var left = try readProduct()
    while take(symbol: "~") {
      left = TemplateExpression(form: .arithmetic("~", left, try readProduct()), line: left.line)
    }
    return left
  }

  private mutating func readProduct() throws(ChatTemplateError) -> TemplateExpression {
    var left = try readSigned()
    while case .symbol(let symbol) = token, ["*", "/", "//", "%"].contains(symbol) {
      advance()
      left = TemplateExpression(form: .arithmetic(symbol, left, try readSigned()), line: left.line)
    }
    if token == .symbol("**") { throw unsupported("the operator ** is not supported") }
    return left
  }

  private mutating func readSigned(
    withFilters: Bool = true
  ) throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var value: TemplateExpression
    if take(symbol: "-") {
      let operand = try nested { (parser) throws(ChatTemplateError) in
        try parser.readSigned(withFilters: false)
      }
      value = TemplateExpression(form: .minus(operand), line: start)
    } else if take(symbol: "+") {
      value = try nested { (parser) throws(ChatTemplateError) in
        try parser.readSigned(withFilters: false)
      }
    } else {
      value = try readPostfix(of: readPrimary())
    }
    return withFilters ? try readFiltersAndTests(of: value) : value
  }

  private mutating func readPrimary() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    let form: TemplateExpression.Form
    switch token {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": form = .literal(.bool(true))
      case "false", "False": form = .literal(.bool(false))
      case "none", "None": form = .literal(.null)
      default: form = .name(name)
      }
    case .string(var text):
      advance()
      // Strings that follow one another are one, as in Python.
      while case .string(let more) = token {
        text += more
        advance()
      }
      form = .literal(.string(text))
    case .integer(let value):
      advance()
      form = .literal(.integer(value))
    case .number(let value):
      advance()
      form = .literal(.number(value))
    case .symbol("("):
      advance()
      let value = try readExpression()
      if token == .symbol(",") { throw unsupported("tuples are not supported; use a list") }
      try expect(.symbol(")"), "\")\"")
      return value
    case .symbol("["):
      advance()
      form = .list(try readElements(until: "]"))
    case .symbol("{"):
      advance()
      form = .object(try readMembers())
    default: throw syntaxError("expected an expression but found \(Self.describe(token))")
    }
    return TemplateExpression(form: form, line: start)
  }

  private mutating func readElements(
    until closing: String
  ) throws(ChatTemplateError) -> [TemplateExpression] {
    var elements: [TemplateExpression] = []
    while !take(symbol: closing) {
      elements.append(try readExpression())
      if !take(symbol: ",") {
        try expect(.symbol(closing), "\"\(closing)\"")
        break
      }
    }
    return elements
  }

  private mutating func readMembers()
    throws(ChatTemplateError) -> [(key: TemplateExpression, value: TemplateExpression)]
  {
    var members: [(key: TemplateExpression, value: TemplateExpression)] = []
    while !take(symbol: "}") {
      let key = try readExpression()
      try expect(.symbol(":"), "\":\"")
      members.append((key, try readExpression()))
      if !take(symbol: ",") {
        try expect(.symbol("}"), "\"}\"")
        break
      }
    }
    return members
  }

  private mutating func readPostfix(
    of first: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    var value = first
    while true {
      let start = line
      if take(symbol: ".") {
        if case .integer(let index) = token {
          advance()
          let element = TemplateExpression(form: .literal(.integer(index)), line: start)
          value = TemplateExpression(form: .element(value, element), line: start)
        } else {
          value = TemplateExpression(form: .member(value, try expectName()), line: start)
        }
      } else if take(symbol: "[") {
        value = try readSubscript(of: value, start)
      } else if take(symbol: "(") {
        value = TemplateExpression(form: .call(value, try readArguments()), line: start)
      } else {
        return value
      }
    }
  }

  private mutating func readSubscript(
    of value: TemplateExpression, _ start: Int
  ) throws(ChatTemplateError) -> TemplateExpression {
    var parts: [TemplateExpression?] = []
    var colons = 0
    while token != .symbol("]") {
      if take(symbol: ":") {
        if parts.count == colons { parts.append(nil) }
        colons += 1
      } else {
        guard parts.count == colons else { throw syntaxError("expected \":\" or \"]\"") }
        parts.append(try readExpression())
      }
    }
    advance()
    if colons == 0 {
      guard let index = parts.first ?? nil else { throw syntaxError("expected an index") }
      return TemplateExpression(form: .element(value, index), line: start)
    }
    guard colons <= 2 else { throw syntaxError("a slice with more than three parts") }
    func part(_ index: Int) -> TemplateExpression? { index < parts.count ? parts[index] : nil }
    return TemplateExpression(
      form: .slice(value, from: part(0), to: part(1), by: part(2)), line: start)
  }

  private mutating func readArguments() throws(ChatTemplateError) -> TemplateArguments {
    var arguments = TemplateArguments()
    while !take(symbol: ")") {
      if token == .symbol("*") || token == .symbol("**") {
        throw unsupported("arguments with * are not supported")
      }
      if case .name(let name) = token, nextToken == .symbol("=") {
        advance()
        advance()
        arguments.named.append((name, try readExpression()))
      } else {
        arguments.positional.append(try readExpression())
      }
      if !take(symbol: ",") {
        try expect(.symbol(")"), "\")\"")
        break
      }
    }
    return arguments
  }

  private mutating func readFiltersAndTests(
    of first: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    var value = first
    while true {
      let start = line
      if take(symbol: "|") {
        let name = try expectName()
        guard TemplateEvaluator.filters.contains(name) else {
          throw ChatTemplateError(
            .unsupported, line: start,
            "the filter \"\(name)\" is not supported; known are "
              + TemplateEvaluator.filters.sorted().joined(separator: ", "))
        }
        let arguments = take(symbol: "(") ? try readArguments() : TemplateArguments()
        value = TemplateExpression(form: .filter(value, name, arguments), line: start)
      } else if take(keyword: "is") {
        let negated = take(keyword: "not")
        let name = try expectName()
        guard TemplateEvaluator.tests.contains(name) else {
          throw ChatTemplateError(
            .unsupported, line: start,
            "the test \"\(name)\" is not supported; known are "
              + TemplateEvaluator.tests.sorted().joined(separator: ", "))
        }
        value = TemplateExpression(
          form: .test(value, name, try readTestArguments(), negated: negated), line: start)
      } else {
        return value
      }
    }
  }

  /// A test's arguments in brackets, or one without.
  private mutating func readTestArguments() throws(ChatTemplateError) -> TemplateArguments {
    if take(symbol: "(") { return try readArguments() }
    switch token {
    case .name(let name) where ["else", "or", "and", "not", "is", "in", "if"].contains(name): break
    case .name, .string, .integer, .number, .symbol("["), .symbol("{"):
      return TemplateArguments(positional: [try readPostfix(of: readPrimary())])
    default: break
    }
    return TemplateArguments()
  }
}
