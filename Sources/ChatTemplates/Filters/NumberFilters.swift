#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Filters that make a number, or choose one.
enum NumberFilters {
  static let table: [String: TemplateFilters.Filter] = [
    "int": integer, "float": number, "abs": magnitude, "round": round, "sum": sum,
    "min": extreme(-1), "max": extreme(1), "filesizeformat": fileSize,
  ]

  private static let integer: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["default", "base"], of: "int", budget)
    let fallback = bound[0] ?? .integer(0)
    switch value {
    case .undefined(let reason): throw budget.failure("\(reason), so is no number")
    case .number(let value): return try whole(value, budget) ?? fallback
    case .text(let text):
      try budget.read(bytes: text.bytes.count)
      let base = try bound.integer(1, default: 10, budget)
      if let value = try NumberReading.integer(text.string, base: base, budget) {
        return .integer(value)
      }
      guard let value = NumberReading.number(text.string) else { return fallback }
      return try whole(value, budget) ?? fallback
    default: return value.asInteger.map { .integer($0) } ?? fallback
    }
  }

  /// The number without its fraction; nil where there is none.
  private static func whole(
    _ value: Double, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue? {
    guard value.isFinite else { return nil }
    guard let result = Int(exactly: value.rounded(.towardZero)) else {
      throw budget.failure("a number that is too large")
    }
    return .integer(result)
  }

  private static let number: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(to: ["default"], of: "float", evaluator.budget)
    let fallback = bound[0] ?? .number(0)
    switch value {
    case .undefined(let reason): throw evaluator.budget.failure("\(reason), so is no number")
    case .text(let text):
      try evaluator.budget.read(bytes: text.bytes.count)
      return NumberReading.number(text.string).map { .number($0) } ?? fallback
    default: return value.asNumber.map { .number($0) } ?? fallback
    }
  }

  private static let magnitude: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "abs", evaluator.budget)
    if case .number(let value) = value { return .number(value.magnitude) }
    guard let number = value.asInteger else {
      throw evaluator.budget.failure("abs needs a number, not \(value.kind)")
    }
    return number < 0
      ? try Arithmetic.negated(.integer(number), evaluator.budget) : .integer(number)
  }

  private static let round: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["precision", "method"], of: "round", budget)
    let precision = try bound.integer(0, default: 0, budget)
    let method = try bound[1].map { (_) throws(ChatTemplateError) in try bound.text(1, budget) }
    guard let number = value.asNumber else {
      throw budget.failure("round needs a number, not \(value.kind)")
    }
    guard precision.magnitude <= 300 else { throw budget.failure("round to \(precision) digits") }
    switch method?.string ?? "common" {
    case "common":
      guard case .number = value else {
        return .integer(try roundedInteger(value.asInteger ?? 0, precision, budget))
      }
      try budget.spend(NumberText.cost(of: number))
      guard precision < 0 else {
        return .number(Double(NumberText.fixed(number, digits: precision)) ?? number)
      }
      let scale = pow(10.0, Double(-precision))
      return .number((number / scale).rounded(.toNearestOrEven) * scale)
    case let method where method == "ceil" || method == "floor":
      let scale = pow(10.0, Double(precision))
      return .number((number * scale).rounded(method == "ceil" ? .up : .down) / scale)
    default: throw budget.failure("round knows the methods common, ceil and floor")
    }
  }

  private static func roundedInteger(
    _ value: Int, _ precision: Int, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> Int {
    guard precision < 0 else { return value }
    guard precision >= -18 else { return 0 }
    let scale = Int(pow(10.0, Double(-precision)))
    var (quotient, remainder) = value.quotientAndRemainder(dividingBy: scale)
    let twice = remainder.magnitude * 2
    if twice > scale.magnitude || twice == scale.magnitude && quotient % 2 != 0 {
      quotient += value < 0 ? -1 : 1
    }
    remainder = 0
    let (result, overflow) = quotient.multipliedReportingOverflow(by: scale)
    if overflow { throw budget.failure("a number that is too large") }
    return result
  }

  private static let sum: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let budget = evaluator.budget
    let bound = try arguments.bound(to: ["attribute", "start"], of: "sum", budget)
    let path = AttributePath(bound.present(0))
    var total = bound[1] ?? .integer(0)
    if case .text = total { throw budget.failure("sum does not add texts") }
    for element in try evaluator.elements(of: value) {
      let element = try path.value(of: element, evaluator)
      total = try Arithmetic.result(total, .add, element, evaluator)
    }
    return total
  }

  /// The smallest (-1) or largest (1) element; the first of equal ones.
  private static func extreme(_ sign: Int) -> TemplateFilters.Filter {
    { value, arguments, evaluator throws(ChatTemplateError) in
      let bound = try arguments.bound(
        to: ["case_sensitive", "attribute"], of: sign < 0 ? "min" : "max", evaluator.budget)
      let path = AttributePath(bound.present(1))
      var best: (key: TemplateValue, element: TemplateValue)?
      for element in try evaluator.elements(of: value) {
        let key = try path.key(of: element, isCaseSensitive: bound.flag(0), evaluator)
        if let known = best {
          let order = try Comparison.order(key, known.key, evaluator.budget) ?? 0
          if order.signum() != sign { continue }
        }
        best = (key, element)
      }
      return best?.element ?? .undefined("an element of nothing is undefined")
    }
  }

  private static let fileSize: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(to: ["binary"], of: "filesizeformat", evaluator.budget)
    let isBinary = bound.flag(0)
    let read = value.asText.map { NumberReading.number($0.string) } ?? value.asNumber
    guard let bytes = read, bytes.isFinite else {
      throw evaluator.budget.failure("filesizeformat needs a number, not \(value.kind)")
    }
    let base: Double = isBinary ? 1024 : 1000
    if bytes == 1 { return .string("1 Byte") }
    if bytes < base { return .string("\(Int(max(bytes, -1e18))) Bytes") }
    var unit = base
    for (index, prefix) in ["k", "M", "G", "T", "P", "E", "Z", "Y"].enumerated() {
      unit *= base
      guard bytes < unit || index == 7 else { continue }
      let name = isBinary ? prefix.uppercased() + "iB" : prefix + "B"
      return .string("\(NumberText.fixed(base * bytes / unit, digits: 1)) \(name)")
    }
    return .none
  }
}
