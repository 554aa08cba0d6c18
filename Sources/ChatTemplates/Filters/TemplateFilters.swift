/// Jinja's filters by name.
enum TemplateFilters {
  typealias Filter =
    @Sendable (TemplateValue, TemplateArguments, TemplateEvaluator) throws(ChatTemplateError)
    -> TemplateValue

  static let table: [String: Filter] = TextFilters.table
    .merging(SequenceFilters.table) { first, _ in first }
    .merging(SelectionFilters.table) { first, _ in first }
    .merging(NumberFilters.table) { first, _ in first }
    .merging(ValueFilters.table) { first, _ in first }

  /// Jinja's filters that this library does not have: for web pages, or without a definite result.
  static let refused: Set<String> = ["pprint", "random", "striptags", "urlize", "wordwrap"]
}

/// Filters of any value.
enum ValueFilters {
  static let table: [String: TemplateFilters.Filter] = [
    "default": fallback, "d": fallback, "string": string, "tojson": json, "attr": attribute,
    "items": items,
  ]

  private static let fallback: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(
      to: ["default_value", "boolean"], of: "default", evaluator.budget)
    let isMissing = value.isUndefined || bound.flag(1) && !value.isTrue
    return isMissing ? bound[0] ?? .string("") : value
  }

  private static let string: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "string", evaluator.budget)
    if case .text = value { return value }
    return .text(try PythonText.str(value, evaluator.budget))
  }

  private static let json: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    .text(try JSONText.text(of: value, arguments, evaluator.budget))
  }

  private static let attribute: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    let bound = try arguments.bound(to: ["name"], required: 1, of: "attr", evaluator.budget)
    guard let name = try bound.text(0, evaluator.budget).name else {
      return .undefined("so long a name is undefined")
    }
    // Members of objects do not count here.
    if case .dictionary(let dictionary) = value {
      return DictionaryMethods.method(name, of: dictionary) ?? .undefined("\(name) is undefined")
    }
    return try Subscript.member(name, of: value, evaluator)
  }

  private static let items: TemplateFilters.Filter = {
    value, arguments, evaluator throws(ChatTemplateError) in
    _ = try arguments.bound(to: [], of: "items", evaluator.budget)
    switch value {
    case .undefined: return try .iterator([], evaluator.budget)
    case .dictionary(let dictionary):
      return try .iterator(
        DictionaryMethods.items(of: dictionary, evaluator.budget), evaluator.budget)
    default: throw evaluator.budget.failure("items needs an object, not \(value.kind)")
    }
  }
}
