/// Values of expressions.
extension TemplateEvaluator {
  mutating func evaluate(
    _ expression: TemplateExpression
  ) throws(ChatTemplateError) -> TemplateValue {
    let line = expression.line
    try count(line)
    switch expression.form {
    case .literal(let value): return TemplateValue(value)
    case .name(let name): return value(of: name)
    case .list(let elements): return .list(try evaluateAll(elements))
    case .object(let members):
      var object = TemplateObject(members: [])
      for (key, value) in members {
        let key = try text(of: evaluate(key), line: line).string
        object.members.append((key: key, value: try evaluate(value)))
      }
      return .object(object)
    case .member(let object, let name):
      return try member(name, of: evaluate(object), line: line)
    case .element(let object, let index):
      return try element(evaluate(index), of: evaluate(object), line: line)
    case .slice(let object, let from, let to, let by):
      return try slice(
        evaluate(object), try evaluateBound(from), try evaluateBound(to),
        try evaluateBound(by) ?? 1, line: line)
    case .call(let callee, let arguments): return try call(callee, arguments, line: line)
    case .filter(let value, let name, let arguments):
      return try applyFilter(
        name, to: evaluate(value), EvaluatedArguments(arguments, &self), line: line)
    case .test(let value, let name, let arguments, let negated):
      let holds = try applyTest(
        name, to: evaluate(value), EvaluatedArguments(arguments, &self).positional, line: line)
      return .bool(holds != negated)
    case .negation(let operand): return .bool(try !evaluate(operand).isTrue)
    case .minus(let operand):
      return try arithmetic("-", .integer(0), evaluate(operand), line: line)
    case .arithmetic(let operation, let left, let right):
      return try arithmetic(operation, evaluate(left), evaluate(right), line: line)
    case .comparison(let first, let operands):
      var left = try evaluate(first)
      for (operation, operand) in operands {
        let right = try evaluate(operand)
        if try !compare(operation, left, right, line: line) { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .and(let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? try evaluate(right) : value
    case .or(let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? value : try evaluate(right)
    case .conditional(let test, let then, let otherwise):
      if try evaluate(test).isTrue { return try evaluate(then) }
      return try otherwise.map { (value) throws(ChatTemplateError) in try evaluate(value) }
        ?? .undefined("the other branch of an inline if")
    }
  }

  private mutating func evaluateAll(
    _ expressions: [TemplateExpression]
  ) throws(ChatTemplateError) -> [TemplateValue] {
    var values: [TemplateValue] = []
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  private mutating func evaluateBound(
    _ expression: TemplateExpression?
  ) throws(ChatTemplateError) -> Int? {
    guard let expression else { return nil }
    switch try evaluate(expression) {
    case .none: return nil
    case let value:
      guard let integer = value.asInteger else {
        throw ChatTemplateError(.evaluation, line: expression.line, "\(value.kind) in a slice")
      }
      return integer
    }
  }

  // MARK: Members and elements

  private func member(
    _ name: String, of value: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    switch value {
    case .object(let object): return object[name] ?? .undefined(name)
    case .namespace(let namespace): return namespace.members[name] ?? .undefined(name)
    case .undefined(let what):
      throw ChatTemplateError(.evaluation, line: line, "\(what) is undefined, so has no \(name)")
    default: return .undefined(name)
    }
  }

  private func element(
    _ index: TemplateValue, of value: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    if case .text(let name) = index {
      return try member(name.string, of: value, line: line)
    }
    if case .undefined(let what) = value {
      throw ChatTemplateError(.evaluation, line: line, "\(what) is undefined, so has no elements")
    }
    guard let index = index.asInteger else { return .undefined("element") }
    func inside(_ count: Int) -> Int? {
      guard index < count, index >= -count else { return nil }
      return index < 0 ? index + count : index
    }
    switch value {
    case .list(let values): return inside(values.count).map { values[$0] } ?? .undefined("element")
    case .text(let text):
      let offsets = text.characterOffsets()
      return inside(offsets.count - 1).map { .text(text.part(offsets[$0]..<offsets[$0 + 1])) }
        ?? .undefined("element")
    default: return .undefined("element")
    }
  }

  /// Python's slices.
  private func slice(
    _ value: TemplateValue, _ from: Int?, _ to: Int?, _ step: Int, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    func places(_ count: Int) throws(ChatTemplateError) -> [Int] {
      guard step != 0 else {
        throw ChatTemplateError(.evaluation, line: line, "a slice with steps of 0")
      }
      let (lowest, highest) = step > 0 ? (0, count) : (-1, count - 1)
      func clamped(_ bound: Int?, _ fallback: Int) -> Int {
        guard let bound else { return fallback }
        return min(max(bound < 0 ? max(bound, -count - 1) + count : bound, lowest), highest)
      }
      let start = clamped(from, step > 0 ? lowest : highest)
      let end = clamped(to, step > 0 ? highest : lowest)
      let stride = step > 0 ? min(step, count + 1) : max(step, -count - 1)
      return Array(Swift.stride(from: start, to: end, by: stride))
    }
    switch value {
    case .list(let values): return .list(try places(values.count).map { values[$0] })
    case .text(let text):
      let offsets = text.characterOffsets()
      var result = TemplateText()
      for place in try places(offsets.count - 1) {
        result += text.part(offsets[place]..<offsets[place + 1])
      }
      return .text(result)
    default:
      throw ChatTemplateError(.evaluation, line: line, "\(value.kind) cannot be sliced")
    }
  }

  // MARK: Operators

  private func arithmetic(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> TemplateValue {
    if operation == "~" {
      return .text(try text(of: left, line: line) + text(of: right, line: line))
    }
    switch (operation, left, right) {
    case ("+", .text(let left), .text(let right)): return .text(left + right)
    case ("+", .list(let left), .list(let right)): return .list(left + right)
    default: break
    }
    if let left = left.asInteger, let right = right.asInteger, operation != "/" {
      return .integer(try integer(operation, left, right, line: line))
    }
    guard let leftNumber = left.asNumber, let rightNumber = right.asNumber else {
      throw ChatTemplateError(
        .evaluation, line: line, "\(left.kind) \(operation) \(right.kind) has no value")
    }
    switch operation {
    case "+": return .number(leftNumber + rightNumber)
    case "-": return .number(leftNumber - rightNumber)
    case "*": return .number(leftNumber * rightNumber)
    default: break
    }
    guard rightNumber != 0 else {
      throw ChatTemplateError(.evaluation, line: line, "a division by zero")
    }
    let quotient = leftNumber / rightNumber
    switch operation {
    case "/": return .number(quotient)
    case "//": return .number(quotient.rounded(.down))
    default: return .number(leftNumber - rightNumber * quotient.rounded(.down))
    }
  }

  private func integer(
    _ operation: String, _ left: Int, _ right: Int, line: Int
  ) throws(ChatTemplateError) -> Int {
    let result: (partialValue: Int, overflow: Bool)
    switch operation {
    case "+": result = left.addingReportingOverflow(right)
    case "-": result = left.subtractingReportingOverflow(right)
    case "*": result = left.multipliedReportingOverflow(by: right)
    default:
      guard right != 0 else {
        throw ChatTemplateError(.evaluation, line: line, "a division by zero")
      }
      let (quotient, overflow) = left.dividedReportingOverflow(by: right)
      let remainder = overflow ? 0 : left % right
      let isUneven = remainder != 0 && (remainder < 0) != (right < 0)
      result =
        operation == "//"
        ? (isUneven ? quotient - 1 : quotient, overflow)
        : (isUneven ? remainder + right : remainder, false)
    }
    if result.overflow {
      throw ChatTemplateError(.evaluation, line: line, "a number that is too large")
    }
    return result.partialValue
  }

  private func compare(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> Bool {
    switch operation {
    case "==": return left.equals(right)
    case "!=": return !left.equals(right)
    case "in": return try contains(right, left, line: line)
    case "not in": return try !contains(right, left, line: line)
    default: break
    }
    let order: (isLess: Bool, isEqual: Bool)
    if case (.text(let left), .text(let right)) = (left, right) {
      let (left, right) = (left.bytes, right.bytes)
      order = (left.lexicographicallyPrecedes(right), left == right)
    } else if let left = left.asNumber, let right = right.asNumber {
      order = (left < right, left == right)
    } else {
      throw ChatTemplateError(
        .evaluation, line: line, "\(left.kind) \(operation) \(right.kind) has no value")
    }
    switch operation {
    case "<": return order.isLess
    case "<=": return order.isLess || order.isEqual
    case ">": return !order.isLess && !order.isEqual
    default: return !order.isLess
    }
  }

  /// Python's `in`.
  func contains(
    _ container: TemplateValue, _ value: TemplateValue, line: Int
  ) throws(ChatTemplateError) -> Bool {
    switch (container, value) {
    case (.undefined, _): return false
    case (.list(let values), _): return values.contains { $0.equals(value) }
    case (.object(let object), .text(let key)): return object[key.string] != nil
    case (.object, _): return false
    case (.text(let text), .text(let part)):
      return part.isEmpty || !text.occurrences(of: part.bytes).isEmpty
    default:
      throw ChatTemplateError(
        .evaluation, line: line, "\(value.kind) in \(container.kind) has no value")
    }
  }
}

/// Arguments with their values.
struct EvaluatedArguments {
  var positional: [TemplateValue] = []
  private var named: [String: TemplateValue] = [:]

  init(_ arguments: TemplateArguments, _ evaluator: inout TemplateEvaluator)
    throws(ChatTemplateError)
  {
    for argument in arguments.positional { positional.append(try evaluator.evaluate(argument)) }
    for (name, value) in arguments.named { named[name] = try evaluator.evaluate(value) }
  }

  /// An argument by place or by name.
  subscript(index: Int, name: String) -> TemplateValue? {
    index < positional.count ? positional[index] : named[name]
  }

  /// All that are given by name.
  var members: [String: TemplateValue] { named }
}
