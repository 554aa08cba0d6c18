/// The functions that every template has: Jinja's, and those that `transformers` adds.
enum GlobalFunctions {
  /// The longest range, as in Jinja's sandbox.
  private static let longestRange = 100_000

  static var values: [String: TemplateValue] {
    let bodies: [(String, TemplateFunction.Body)] = [
      ("range", range), ("dict", dictionary), ("namespace", namespace), ("cycler", cycler),
      ("joiner", joiner), ("raise_exception", raise), ("strftime_now", time),
    ]
    var values: [String: TemplateValue] = [:]
    for (name, body) in bodies { values[name] = .object(TemplateFunction(name, body)) }
    return values
  }

  private static func range(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let budget = evaluator.budget
    let bound = try arguments.bound(
      to: ["start", "stop", "step"], required: 1, of: "range", budget)
    let first = try bound.integer(0, default: 0, budget)
    let (start, end) =
      bound[1] == nil ? (0, first) : (first, try bound.integer(1, default: 0, budget))
    let step = try bound.integer(2, default: 1, budget)
    guard step != 0 else { throw budget.failure("a range with a step of 0") }
    guard
      abs(Double(end) - Double(start)) / abs(Double(step)) <= Double(longestRange)
        || (end < start) != (step < 0)
    else {
      throw budget.failure("a range of more than \(longestRange) numbers")
    }
    var elements: [TemplateValue] = []
    for value in stride(from: start, to: end, by: step) { elements.append(.integer(value)) }
    return .sequence(try TemplateSequence(.range, elements, budget))
  }

  private static func dictionary(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    .dictionary(try members(of: arguments, "dict", evaluator))
  }

  private static func members(
    of arguments: TemplateArguments, _ function: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateDictionary {
    let budget = evaluator.budget
    guard arguments.positional.count <= 1 else {
      throw budget.failure("\(function) takes one argument without a name")
    }
    var builder = TemplateDictionary.Builder()
    switch arguments.positional.first {
    case nil: break
    case .dictionary(let dictionary)?: builder = TemplateDictionary.Builder(dictionary)
    case .object(let object as TemplateNamespace)?:
      builder = TemplateDictionary.Builder(try object.dictionary(budget))
    case .some(let value):
      for pair in try evaluator.elements(of: value) {
        let parts = try evaluator.elements(of: pair)
        guard parts.count == 2 else { throw budget.failure("\(function) needs pairs") }
        try builder.set(parts[0], to: parts[1], budget)
      }
    }
    for (name, value) in arguments.named { try builder.set(.string(name), to: value, budget) }
    return try builder.dictionary(budget)
  }

  private static func namespace(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let budget = evaluator.budget
    try budget.make(elements: 2)
    let namespace = TemplateNamespace(budget)
    for member in try members(of: arguments, "namespace", evaluator).members {
      guard let name = member.key.asText?.name else {
        throw budget.failure("namespace needs names as keys")
      }
      try namespace.set(name, to: member.value, budget)
    }
    return .object(namespace)
  }

  private static func raise(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let bound = try arguments.bound(
      to: ["message"], required: 1, of: "raise_exception", evaluator.budget)
    let message = try PythonText.str(bound[0] ?? .none, evaluator.budget)
    throw ChatTemplateError(.raised, line: evaluator.budget.line, message.string)
  }

  private static func time(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let bound = try arguments.bound(
      to: ["format"], required: 1, of: "strftime_now", evaluator.budget)
    let format = try bound.text(0, evaluator.budget)
    try evaluator.budget.spend(4000 + 200 * format.bytes.count)
    guard format.bytes.count <= 256 else {
      throw evaluator.budget.failure("strftime_now takes a format of at most 256 bytes")
    }
    return .string(LocalTime.text(of: evaluator.currentTime, format.string))
  }

  private static func cycler(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    guard arguments.named.isEmpty, !arguments.positional.isEmpty else {
      throw evaluator.budget.failure("cycler needs values to choose from")
    }
    return .object(try TemplateCycler(arguments.positional, evaluator.budget))
  }

  private static func joiner(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let bound = try arguments.bound(to: ["sep"], of: "joiner", evaluator.budget)
    return .object(TemplateJoiner(bound[0] ?? .string(", ")))
  }
}

/// What `cycler(...)` makes: values one after the other, from the front again after the last.
final class TemplateCycler: TemplateObject {
  private let values: [TemplateValue]
  private let depthOfValues: Int
  private var position = 0

  init(_ values: [TemplateValue], _ budget: TemplateBudget) throws(ChatTemplateError) {
    try budget.make(elements: values.count)
    self.values = values
    var inner = 0
    for value in values { inner = max(inner, value.depth) }
    depthOfValues = try budget.depth(around: inner)
  }

  override var kind: String { "a cycler" }
  override var depth: Int { depthOfValues }

  override func member(
    _ name: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? {
    switch name {
    case "current": return values[position]
    case "next":
      return .object(
        TemplateFunction(name, depth: depth) { [self] _, _ throws(ChatTemplateError) in
          defer { position = (position + 1) % values.count }
          return values[position]
        })
    case "reset":
      return .object(
        TemplateFunction(name, depth: depth) { [self] _, _ throws(ChatTemplateError) in
          position = 0
          return .none
        })
    default: return nil
    }
  }
}

/// What `joiner(...)` makes: nothing when it is called first, its separator from then on.
final class TemplateJoiner: TemplateObject {
  private let separator: TemplateValue
  private var isUsed = false

  init(_ separator: TemplateValue) { self.separator = separator }

  override var kind: String { "a joiner" }
  override var depth: Int { separator.depth + 1 }
  override var isCallable: Bool { true }

  override func call(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    defer { isUsed = true }
    return isUsed ? separator : .string("")
  }
}
