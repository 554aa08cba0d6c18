/// Jinja's tests by name, as in `value is odd`.
enum TemplateTests {
  typealias Test =
    @Sendable (TemplateValue, TemplateArguments, TemplateEvaluator) throws(ChatTemplateError)
    -> Bool

  static let table: [String: Test] = {
    var table = kinds.merging(numbers) { first, _ in first }
    for (names, operation) in comparisons {
      for name in names { table[name] = comparison(operation, name) }
    }
    table["in"] = comparison(.isIn, "in")
    table["filter"] = { value, _, _ in isKnown(value) { TemplateFilters.table[$0] != nil } }
    table["test"] = { value, _, _ in isKnown(value) { names.contains($0) } }
    return table
  }()

  private static let comparisons: [(names: [String], operation: ComparisonOperation)] = [
    (["==", "eq", "equalto"], .equal), (["!=", "ne"], .unequal),
    ([">", "gt", "greaterthan"], .greater), ([">=", "ge"], .greaterOrEqual),
    (["<", "lt", "lessthan"], .less), (["<=", "le"], .lessOrEqual),
  ]

  private static let names: Set<String> = Set(kinds.keys).union(numbers.keys)
    .union(comparisons.flatMap(\.names)).union(["in", "filter", "test"])

  private static func isKnown(_ value: TemplateValue, _ knows: (String) -> Bool) -> Bool {
    value.asText?.name.map(knows) ?? false
  }

  private static func comparison(_ operation: ComparisonOperation, _ name: String) -> Test {
    { value, arguments, evaluator throws(ChatTemplateError) in
      let bound = try arguments.bound(
        to: ["other"], required: 1, of: "the test \(name)", evaluator.budget)
      return try evaluator.compare(value, operation, bound[0] ?? .none)
    }
  }

  // MARK: What a value is

  private static func kind(_ holds: @escaping @Sendable (TemplateValue) -> Bool) -> Test {
    { value, arguments, evaluator throws(ChatTemplateError) in
      _ = try arguments.bound(to: [], of: "the test", evaluator.budget)
      return holds(value)
    }
  }

  private static let kinds: [String: Test] = [
    "defined": kind { !$0.isUndefined },
    "undefined": kind { $0.isUndefined },
    "none": kind { $0.isNone },
    "boolean": kind { if case .bool = $0 { true } else { false } },
    "true": kind { if case .bool(true) = $0 { true } else { false } },
    "false": kind { if case .bool(false) = $0 { true } else { false } },
    "integer": kind { if case .integer = $0 { true } else { false } },
    "float": kind { if case .number = $0 { true } else { false } },
    "number": kind { $0.asNumber != nil },
    "string": kind { if case .text = $0 { true } else { false } },
    "mapping": kind { if case .dictionary = $0 { true } else { false } },
    "sequence": kind { value in
      switch value {
      case .undefined, .text, .dictionary: true
      case .sequence(let sequence): sequence.hasIndex
      default: false
      }
    },
    "iterable": kind { value in
      switch value {
      case .undefined, .text, .dictionary, .sequence: true
      case .object(let object): object is TemplateIterator || object is LoopState
      default: false
      }
    },
    "callable": kind { value in
      switch value {
      // Jinja's undefined values can be called, to fail then.
      case .undefined: true
      case .object(let object): object.isCallable
      default: false
      }
    },
    "escaped": kind { if case .text(let text) = $0 { text.isMarkup } else { false } },
    "lower": cased { $0.isLowercase }, "upper": cased { $0.isUppercase },
    "sameas": isSame,
  ]

  private static func cased(_ holds: @escaping @Sendable (TemplateText) -> Bool) -> Test {
    { value, _, evaluator throws(ChatTemplateError) in
      let text = try PythonText.str(value, evaluator.budget)
      try evaluator.budget.read(bytes: text.bytes.count)
      return holds(text)
    }
  }

  /// Python's `is`. Texts and lists that are equal count as the same.
  private static let isSame: Test = { value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(to: ["other"], required: 1, of: "sameas", evaluator.budget)
    switch (value, bound[0] ?? .none) {
    case (.bool(let left), .bool(let right)): return left == right
    case (.bool, _), (_, .bool): return false
    case (.integer, .number), (.number, .integer): return false
    case (let left, let right): return try Comparison.areEqual(left, right, evaluator.budget)
    }
  }

  // MARK: Numbers

  private static let numbers: [String: Test] = [
    "odd": { value, _, evaluator throws(ChatTemplateError) in
      try remainder(value, .integer(2), evaluator) == 1
    },
    "even": { value, _, evaluator throws(ChatTemplateError) in
      try remainder(value, .integer(2), evaluator) == 0
    },
    "divisibleby": { value, arguments, evaluator throws(ChatTemplateError) in
      let bound = try arguments.bound(
        to: ["num"], required: 1, of: "divisibleby", evaluator.budget)
      return try remainder(value, bound[0] ?? .none, evaluator) == 0
    },
  ]

  private static func remainder(
    _ value: TemplateValue, _ divisor: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> Double? {
    guard value.asNumber != nil else {
      throw evaluator.budget.failure("\(value.kind) is neither odd nor even")
    }
    return try Arithmetic.result(value, .modulo, divisor, evaluator).asNumber
  }
}
