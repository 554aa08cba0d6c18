/// The expressions of a template, by falling precedence as in Jinja.
extension TemplateParser {
  mutating func readExpression() throws(ChatTemplateError) -> TemplateExpression {
    try nested { (parser) throws(ChatTemplateError) in try parser.readConditional() }
  }

  /// One expression, or a tuple where commas follow.
  mutating func readTuple(
    allowsConditional: Bool = true, until stop: String = "", allowsEmpty: Bool = false
  ) throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var elements: [TemplateExpression] = []
    var isTuple = false
    while true {
      if token == .outputEnd || token == .statementEnd || isNext(symbol: ")")
        || isNext(keyword: stop)
      {
        break
      }
      elements.append(allowsConditional ? try readExpression() : try readBareDisjunction())
      guard take(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple, let first = elements.first { return first }
    guard isTuple || allowsEmpty else { throw expected("an expression") }
    return TemplateExpression(form: .tuple(elements), line: start)
  }

  private mutating func readBareDisjunction() throws(ChatTemplateError) -> TemplateExpression {
    try nested { (parser) throws(ChatTemplateError) in try parser.readDisjunction() }
  }

  private mutating func readConditional() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var value = try readDisjunction()
    while take(keyword: "if") {
      let test = try readDisjunction()
      let otherwise = take(keyword: "else") ? try readExpression() : nil
      value = TemplateExpression(
        form: .conditional(test, then: value, otherwise: otherwise), line: start)
    }
    return value
  }

  private mutating func readDisjunction() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var operands = [try readConjunction()]
    while take(keyword: "or") { operands.append(try readConjunction()) }
    return operands.count == 1 ? operands[0] : TemplateExpression(form: .or(operands), line: start)
  }

  private mutating func readConjunction() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var operands = [try readNegation()]
    while take(keyword: "and") { operands.append(try readNegation()) }
    return operands.count == 1 ? operands[0] : TemplateExpression(form: .and(operands), line: start)
  }

  private mutating func readNegation() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    guard take(keyword: "not") else { return try readComparison() }
    let operand = try nested { (parser) throws(ChatTemplateError) in try parser.readNegation() }
    return TemplateExpression(form: .not(operand), line: start)
  }

  private mutating func readComparison() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    let first = try readSum()
    var operands: [(operation: ComparisonOperation, operand: TemplateExpression)] = []
    while let operation = takeComparison() { operands.append((operation, try readSum())) }
    return operands.isEmpty
      ? first : TemplateExpression(form: .comparison(first, operands), line: start)
  }

  private mutating func takeComparison() -> ComparisonOperation? {
    switch token {
    case .symbol(let symbol):
      guard let operation = ComparisonOperation(rawValue: symbol) else { return nil }
      advance()
      return operation
    case .name("in"):
      advance()
      return .isIn
    case .name("not"):
      guard case .name("in") = nextToken else { return nil }
      advance()
      advance()
      return .isNotIn
    default: return nil
    }
  }

  private mutating func readSum() throws(ChatTemplateError) -> TemplateExpression {
    try readArithmetic([.add, .subtract]) { (parser) throws(ChatTemplateError) in
      try parser.readConcatenation()
    }
  }

  private mutating func readConcatenation() throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var operands = [try readProduct()]
    while take(symbol: "~") { operands.append(try readProduct()) }
    return operands.count == 1
      ? operands[0] : TemplateExpression(form: .concatenation(operands), line: start)
  }

  private mutating func readProduct() throws(ChatTemplateError) -> TemplateExpression {
    try readArithmetic([.multiply, .divide, .floorDivide, .modulo]) {
      (parser) throws(ChatTemplateError) in
      try parser.readArithmetic([.power]) { (parser) throws(ChatTemplateError) in
        try parser.readUnary(allowsFilters: true)
      }
    }
  }

  private mutating func readArithmetic(
    _ operations: [ArithmeticOperation],
    _ readOperand: (inout TemplateParser) throws(ChatTemplateError) -> TemplateExpression
  ) throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    let first = try readOperand(&self)
    var operands: [(operation: ArithmeticOperation, operand: TemplateExpression)] = []
    while case .symbol(let symbol) = token, let operation = ArithmeticOperation(rawValue: symbol),
      operations.contains(operation)
    {
      advance()
      operands.append((operation, try readOperand(&self)))
    }
    return operands.isEmpty
      ? first : TemplateExpression(form: .arithmetic(first, operands), line: start)
  }

  private mutating func readUnary(
    allowsFilters: Bool
  ) throws(ChatTemplateError) -> TemplateExpression {
    let start = line
    var value: TemplateExpression
    if take(symbol: "-") {
      let operand = try nested { (parser) throws(ChatTemplateError) in
        try parser.readUnary(allowsFilters: false)
      }
      value = TemplateExpression(form: .minus(operand), line: start)
    } else if take(symbol: "+") {
      let operand = try nested { (parser) throws(ChatTemplateError) in
        try parser.readUnary(allowsFilters: false)
      }
      value = TemplateExpression(form: .plus(operand), line: start)
    } else {
      value = try readPrimary()
    }
    value = try readPostfix(after: value)
    return allowsFilters ? try readFiltersAndTests(after: value) : value
  }
}
