#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Python's arithmetic. Whole numbers have 64 bits; what does not fit is an error.
enum Arithmetic {
  static func negated(
    _ value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    if case .number(let value) = value { return .number(-value) }
    guard let value = value.asInteger else { throw noValue("-", value, budget) }
    let (result, overflow) = 0.subtractingReportingOverflow(value)
    if overflow { throw tooLarge(budget) }
    return .integer(result)
  }

  static func positive(
    _ value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    if case .number = value { return value }
    guard let value = value.asInteger else { throw noValue("+", value, budget) }
    return .integer(value)
  }

  private static func noValue(
    _ operation: String, _ value: TemplateValue, _ budget: TemplateBudget
  ) -> ChatTemplateError {
    budget.failure("\(operation) \(value.kind) has no value")
  }

  private static func tooLarge(_ budget: TemplateBudget) -> ChatTemplateError {
    budget.failure("a number that is too large")
  }

  static func result(
    _ left: TemplateValue, _ operation: ArithmeticOperation, _ right: TemplateValue,
    _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let budget = evaluator.budget
    for operand in [left, right] {
      if case .undefined(let reason) = operand {
        throw budget.failure("\(reason), so \"\(operation.rawValue)\" has no value")
      }
    }
    if let left = left.asInteger, let right = right.asInteger {
      return try whole(left, operation, right, budget)
    }
    if let left = left.asNumber, let right = right.asNumber {
      return try .number(fractional(left, operation, right, budget))
    }
    switch (operation, left, right) {
    case (.add, .text(let left), .text(let right)): return .text(try sum(left, right, budget))
    case (.add, .sequence(let left), .sequence(let right))
    where left.hasIndex && left.kind != .range && left.isTuple == right.isTuple
      && right.hasIndex && right.kind != .range:
      return .sequence(
        try TemplateSequence(
          left.isTuple ? .tuple : .list, left.elements + right.elements, budget))
    case (.multiply, .text(let text), _):
      if let count = right.asInteger { return try .text(repeated(text, count, budget)) }
    case (.multiply, _, .text(let text)):
      if let count = left.asInteger { return try .text(repeated(text, count, budget)) }
    case (.multiply, .sequence(let sequence), _) where sequence.hasIndex && sequence.kind != .range:
      if let count = right.asInteger { return try repeated(sequence, count, budget) }
    case (.multiply, _, .sequence(let sequence)) where sequence.hasIndex && sequence.kind != .range:
      if let count = left.asInteger { return try repeated(sequence, count, budget) }
    case (.modulo, .text(let format), _):
      return .text(try PercentFormat.text(format, right, evaluator))
    default: break
    }
    throw budget.failure("\(left.kind) \(operation.rawValue) \(right.kind) has no value")
  }

  // MARK: Texts and lists

  static func sum(
    _ left: TemplateText, _ right: TemplateText, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    try budget.make(bytes: left.bytes.count + right.bytes.count)
    guard left.isMarkup || right.isMarkup else { return left + right }
    var sum =
      try (left.isMarkup ? left : HTMLEscaping.escaped(left, budget))
      + (right.isMarkup ? right : HTMLEscaping.escaped(right, budget))
    sum.isMarkup = true
    return sum
  }

  private static func repeated(
    _ text: TemplateText, _ count: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    var result = TemplateText()
    result.isMarkup = text.isMarkup
    guard count > 0, !text.isEmpty else { return result }
    let (bytes, overflow) = text.bytes.count.multipliedReportingOverflow(by: count)
    try budget.make(bytes: overflow ? .max / 2 : bytes)
    try budget.spend(count)
    for _ in 0..<count { result.append(text) }
    return result
  }

  private static func repeated(
    _ sequence: TemplateSequence, _ count: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    var elements: [TemplateValue] = []
    if count > 0, !sequence.elements.isEmpty {
      let (total, overflow) = sequence.elements.count.multipliedReportingOverflow(by: count)
      try budget.make(elements: overflow ? .max / 256 : min(total, .max / 256))
      for _ in 0..<count { elements += sequence.elements }
    }
    return .sequence(
      try TemplateSequence(sequence.isTuple ? .tuple : .list, elements, budget))
  }

  // MARK: Numbers

  private static func whole(
    _ left: Int, _ operation: ArithmeticOperation, _ right: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    let (result, overflow): (Int, Bool)
    switch operation {
    case .add: (result, overflow) = left.addingReportingOverflow(right)
    case .subtract: (result, overflow) = left.subtractingReportingOverflow(right)
    case .multiply: (result, overflow) = left.multipliedReportingOverflow(by: right)
    case .divide:
      guard right != 0 else { throw budget.failure("a division by zero") }
      return .number(Double(left) / Double(right))
    case .floorDivide, .modulo:
      guard right != 0 else { throw budget.failure("a division by zero") }
      let (quotient, quotientOverflow) = left.dividedReportingOverflow(by: right)
      if quotientOverflow { throw tooLarge(budget) }
      let remainder = left - quotient * right
      let isBelow = remainder != 0 && (remainder < 0) != (right < 0)
      return .integer(
        operation == .modulo
          ? remainder + (isBelow ? right : 0) : quotient - (isBelow ? 1 : 0))
    case .power: return try power(left, right, budget)
    }
    if overflow { throw tooLarge(budget) }
    return .integer(result)
  }

  private static func power(
    _ base: Int, _ exponent: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    if exponent < 0 {
      guard base != 0 else { throw budget.failure("a division by zero") }
      return .number(pow(Double(base), Double(exponent)))
    }
    if base == 0 || base == 1 { return .integer(exponent == 0 ? 1 : base) }
    if base == -1 { return .integer(exponent % 2 == 0 ? 1 : -1) }
    var result = 1
    for _ in 0..<min(exponent, 64) {
      let (product, overflow) = result.multipliedReportingOverflow(by: base)
      if overflow { throw tooLarge(budget) }
      result = product
    }
    if exponent > 64 { throw tooLarge(budget) }
    return .integer(result)
  }

  private static func fractional(
    _ left: Double, _ operation: ArithmeticOperation, _ right: Double, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Double {
    switch operation {
    case .add: return left + right
    case .subtract: return left - right
    case .multiply: return left * right
    case .power:
      if left == 0, right < 0 { throw budget.failure("a division by zero") }
      let result = pow(left, right)
      if result.isNaN, !left.isNaN, !right.isNaN {
        throw budget.unsupported("a power that is a complex number")
      }
      if result.isInfinite, left.isFinite, right.isFinite { throw tooLarge(budget) }
      return result
    case .divide:
      guard right != 0 else { throw budget.failure("a division by zero") }
      return left / right
    case .floorDivide, .modulo:
      guard right != 0 else { throw budget.failure("a division by zero") }
      // As CPython does it: the remainder first, with the divisor's sign.
      var remainder = fmod(left, right)
      var quotient = (left - remainder) / right
      if remainder != 0, (remainder < 0) != (right < 0) {
        remainder += right
        quotient -= 1
      }
      if remainder == 0 { remainder = right < 0 ? -0.0 : 0.0 }
      guard operation == .floorDivide else { return remainder }
      if quotient == 0 { return (left / right).sign == .minus ? -0.0 : 0.0 }
      let floored = quotient.rounded(.down)
      return quotient - floored > 0.5 ? floored + 1 : floored
    }
  }
}
