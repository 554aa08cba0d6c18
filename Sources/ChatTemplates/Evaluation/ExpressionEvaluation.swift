/// Values of expressions.
extension TemplateEvaluator {
  func evaluate(_ expression: TemplateExpression) throws(ChatTemplateError) -> TemplateValue {
    try budget.enter()
    defer { budget.leave() }
    try budget.spend(3)
    let line = expression.line
    budget.line = line
    switch expression.form {
    case .none: return .none
    case .bool(let value): return .bool(value)
    case .integer(let value): return .integer(value)
    case .number(let value): return .number(value)
    case .text(let text): return .text(text)
    case .name(let name): return scope[name] ?? .undefined("\(name) is undefined")
    case .captured: return .text(captured.last ?? TemplateText())
    case .list(let elements): return try .list(evaluateAll(elements), budget)
    case .tuple(let elements): return try .tuple(evaluateAll(elements), budget)
    case .object(let members): return try evaluate(members: members)
    case .member(let object, let name):
      let object = try evaluate(object)
      budget.line = line
      return try Subscript.member(name, of: object, self)
    case .element(let object, let key):
      let object = try evaluate(object)
      let key = try evaluate(key)
      budget.line = line
      return try Subscript.element(key, of: object, self)
    case .slice(let object, let from, let to, let by):
      return try evaluateSlice(object, [from, to, by], line: line)
    case .call(let callee, let arguments):
      return try evaluate(callee: callee, arguments, line: line)
    case .filter(let value, let name, let arguments):
      let value = try evaluate(value)
      let arguments = try evaluate(arguments: arguments)
      budget.line = line
      return try applyFilter(name, to: value, arguments)
    case .test(let value, let name, let arguments):
      let value = try evaluate(value)
      let arguments = try evaluate(arguments: arguments)
      budget.line = line
      return .bool(try applyTest(name, to: value, arguments))
    case .not(let operand): return .bool(try !evaluate(operand).isTrue)
    case .minus(let operand):
      let value = try evaluate(operand)
      budget.line = line
      return try Arithmetic.negated(value, budget)
    case .plus(let operand):
      let value = try evaluate(operand)
      budget.line = line
      return try Arithmetic.positive(value, budget)
    case .arithmetic(let first, let operands):
      return try evaluateArithmetic(first, operands, line: line)
    case .concatenation(let operands): return try evaluateConcatenation(operands)
    case .comparison(let first, let operands):
      return try evaluateComparison(first, operands, line: line)
    case .and(let operands): return try evaluate(operands, until: false)
    case .or(let operands): return try evaluate(operands, until: true)
    case .conditional(let test, let value, let otherwise):
      if try evaluate(test).isTrue { return try evaluate(value) }
      guard let otherwise else {
        return .undefined("the value of an \"if\" without \"else\" is undefined")
      }
      return try evaluate(otherwise)
    }
  }

  private func evaluateAll(
    _ expressions: [TemplateExpression]
  ) throws(ChatTemplateError) -> [TemplateValue] {
    var values: [TemplateValue] = []
    values.reserveCapacity(expressions.count)
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  private func evaluate(
    members: [(key: TemplateExpression, value: TemplateExpression)]
  ) throws(ChatTemplateError) -> TemplateValue {
    var builder = TemplateDictionary.Builder()
    for (key, value) in members {
      try builder.set(evaluate(key), to: evaluate(value), budget)
    }
    return .dictionary(try builder.dictionary(budget))
  }

  private func evaluateSlice(
    _ object: TemplateExpression, _ bounds: [TemplateExpression?], line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    let object = try evaluate(object)
    var values: [TemplateValue] = []
    for bound in bounds { values.append(try bound.map(evaluate) ?? .none) }
    budget.line = line
    return try Subscript.slice(object, from: values[0], to: values[1], by: values[2], self)
  }

  /// The value of the last operand, or of the first whose truth is `stop`.
  private func evaluate(
    _ operands: [TemplateExpression], until stop: Bool
  ) throws(ChatTemplateError) -> TemplateValue {
    var value = TemplateValue.none
    for operand in operands {
      value = try evaluate(operand)
      if value.isTrue == stop { return value }
    }
    return value
  }

  private func evaluateArithmetic(
    _ first: TemplateExpression,
    _ operands: [(operation: ArithmeticOperation, operand: TemplateExpression)], line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    var value = try evaluate(first)
    for (operation, operand) in operands {
      let right = try evaluate(operand)
      budget.line = line
      value = try Arithmetic.result(value, operation, right, self)
    }
    return value
  }

  private func evaluateConcatenation(
    _ operands: [TemplateExpression]
  ) throws(ChatTemplateError) -> TemplateValue {
    var text = TemplateText()
    for operand in operands {
      let part = try PythonText.str(evaluate(operand), budget)
      try budget.make(bytes: part.bytes.count)
      text.append(part)
    }
    return .text(text)
  }

  private func evaluateComparison(
    _ first: TemplateExpression,
    _ operands: [(operation: ComparisonOperation, operand: TemplateExpression)], line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    var left = try evaluate(first)
    for (operation, operand) in operands {
      let right = try evaluate(operand)
      budget.line = line
      if try !compare(left, operation, right) { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  func compare(
    _ left: TemplateValue, _ operation: ComparisonOperation, _ right: TemplateValue
  ) throws(ChatTemplateError) -> Bool {
    switch operation {
    case .equal: return try Comparison.areEqual(left, right, budget)
    case .unequal: return try !Comparison.areEqual(left, right, budget)
    case .isIn: return try Comparison.contains(right, left, budget)
    case .isNotIn: return try !Comparison.contains(right, left, budget)
    case .less: return (try Comparison.order(left, right, budget)).map { $0 < 0 } ?? false
    case .lessOrEqual: return (try Comparison.order(left, right, budget)).map { $0 <= 0 } ?? false
    case .greater: return (try Comparison.order(left, right, budget)).map { $0 > 0 } ?? false
    case .greaterOrEqual:
      return (try Comparison.order(left, right, budget)).map { $0 >= 0 } ?? false
    }
  }

  // MARK: Calls

  private func evaluate(
    callee: TemplateExpression, _ arguments: TemplateArgumentSyntax, line: Int,
    caller: TemplateMacroSyntax? = nil
  ) throws(ChatTemplateError) -> TemplateValue {
    let callee = try evaluate(callee)
    var arguments = try evaluate(arguments: arguments)
    budget.line = line
    if let caller {
      arguments.named.append((caller.name, .object(TemplateMacro(caller, in: scope, budget))))
    }
    guard case .object(let object) = callee else {
      throw budget.failure("\(callee.kind)\(callee.isUndefined ? ", so" : "") cannot be called")
    }
    let result = try object.call(arguments, self)
    budget.line = line
    return result
  }

  /// The call of a call block.
  func evaluate(
    call: TemplateExpression, caller: TemplateMacroSyntax
  ) throws(ChatTemplateError) -> TemplateValue {
    guard case .call(let callee, let arguments) = call.form else { return .none }
    return try evaluate(callee: callee, arguments, line: call.line, caller: caller)
  }

  private func evaluate(
    arguments syntax: TemplateArgumentSyntax
  ) throws(ChatTemplateError) -> TemplateArguments {
    var arguments = TemplateArguments()
    for expression in syntax.positional { arguments.positional.append(try evaluate(expression)) }
    for (name, value) in syntax.named { arguments.named.append((name, try evaluate(value))) }
    if let rest = syntax.positionalRest {
      let elements = try elements(of: evaluate(rest))
      try budget.make(elements: elements.count)
      arguments.positional += elements
    }
    if let rest = syntax.namedRest {
      guard case .dictionary(let dictionary) = try evaluate(rest) else {
        throw budget.failure("\"**\" in a call needs an object")
      }
      try budget.make(elements: dictionary.members.count)
      for member in dictionary.members {
        guard let name = member.key.asText?.name else {
          throw budget.failure("\"**\" in a call needs names as keys")
        }
        arguments.named.append((name, member.value))
      }
    }
    return arguments
  }

  // MARK: Filters and tests

  func applyFilter(
    _ name: String, to value: TemplateValue, _ arguments: TemplateArguments
  ) throws(ChatTemplateError) -> TemplateValue {
    guard let filter = TemplateFilters.table[name] else {
      throw budget.unsupported(
        TemplateFilters.refused.contains(name)
          ? "the filter \"\(name)\" is not supported" : "there is no filter \"\(name)\"")
    }
    try budget.spend(4)
    return try filter(value, arguments, self)
  }

  func applyTest(
    _ name: String, to value: TemplateValue, _ arguments: TemplateArguments
  ) throws(ChatTemplateError) -> Bool {
    guard let test = TemplateTests.table[name] else {
      throw budget.unsupported("there is no test \"\(name)\"")
    }
    return try test(value, arguments, self)
  }
}
