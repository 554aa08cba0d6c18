/// Carries out the statements of a template.
struct TemplateEvaluator {
  /// The most steps (statements and expressions) of one rendering: a bound for templates that loop over loops.
  static let mostSteps = 2_000_000

  var output = TemplateText()
  /// The variables, innermost scope last. Only loops open scopes.
  private var scopes: [[String: TemplateValue]]
  private var steps = 0
  /// Seconds since 1970 that `strftime_now` takes as now.
  let currentTime: Int

  init(variables: [String: TemplateValue], currentTime: Int) {
    scopes = [variables]
    self.currentTime = currentTime
  }

  mutating func count(_ line: Int) throws(ChatTemplateError) {
    steps += 1
    if steps > Self.mostSteps {
      throw ChatTemplateError(
        .evaluation, line: line, "the template takes more than \(Self.mostSteps) steps")
    }
  }

  // MARK: Variables

  func value(of name: String) -> TemplateValue {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    return Self.functions.contains(name) ? .function(name) : .undefined(name)
  }

  private mutating func set(_ name: String, _ value: TemplateValue) {
    scopes[scopes.count - 1][name] = value
  }

  /// Gives values to the names of a loop or of `set`.
  private mutating func assign(
    _ names: [String], _ value: TemplateValue, line: Int
  ) throws(ChatTemplateError) {
    if names.count == 1 { return set(names[0], value) }
    guard case .list(let values) = value, values.count == names.count else {
      throw ChatTemplateError(
        .evaluation, line: line, "\(value.kind) cannot be taken apart into \(names.count) names")
    }
    for (name, value) in zip(names, values) { set(name, value) }
  }

  // MARK: Statements

  mutating func run(_ statements: [TemplateStatement]) throws(ChatTemplateError) {
    for statement in statements {
      switch statement {
      case .text(let text): output += TemplateText(text)
      case .output(let expression):
        output += try text(of: evaluate(expression), line: expression.line)
      case .condition(let branches, let otherwise): try runCondition(branches, otherwise)
      case .loop(let loop): try runLoop(loop)
      case .assign(let names, let expression, let line):
        try assign(names, evaluate(expression), line: line)
      case .assignMember(let name, let member, let expression, let line):
        guard case .namespace(let namespace) = value(of: name) else {
          throw ChatTemplateError(
            .evaluation, line: line,
            "\"set \(name).\(member)\" needs a namespace, but \(name) is "
              + value(of: name).kind)
        }
        namespace.members[member] = try evaluate(expression)
      }
    }
  }

  private mutating func runCondition(
    _ branches: [(test: TemplateExpression, body: [TemplateStatement])],
    _ otherwise: [TemplateStatement]
  ) throws(ChatTemplateError) {
    for (test, body) in branches {
      if try evaluate(test).isTrue { return try run(body) }
    }
    try run(otherwise)
  }

  private mutating func runLoop(_ loop: TemplateLoop) throws(ChatTemplateError) {
    var values = try elements(of: evaluate(loop.sequence), line: loop.line)
    // Names set in the body last for one round.
    scopes.append([:])
    defer { scopes.removeLast() }
    if let filter = loop.filter {
      var kept: [TemplateValue] = []
      for value in values {
        try assign(loop.names, value, line: loop.line)
        if try evaluate(filter).isTrue { kept.append(value) }
      }
      values = kept
    }
    for (index, value) in values.enumerated() {
      try count(loop.line)
      scopes[scopes.count - 1] = ["loop": Self.loopVariable(index, values)]
      try assign(loop.names, value, line: loop.line)
      try run(loop.body)
    }
    if values.isEmpty { try run(loop.otherwise) }
  }

  private static func loopVariable(_ index: Int, _ values: [TemplateValue]) -> TemplateValue {
    let count = values.count
    return .object(
      TemplateObject(members: [
        (key: "index", value: .integer(index + 1)), (key: "index0", value: .integer(index)),
        (key: "revindex", value: .integer(count - index)),
        (key: "revindex0", value: .integer(count - index - 1)),
        (key: "first", value: .bool(index == 0)), (key: "last", value: .bool(index == count - 1)),
        (key: "length", value: .integer(count)),
        (key: "previtem", value: index > 0 ? values[index - 1] : .undefined("loop.previtem")),
        (
          key: "nextitem",
          value: index + 1 < count ? values[index + 1] : .undefined("loop.nextitem")
        ),
      ]))
  }

  // MARK: Conversions

  /// What `{{ value }}` prints.
  func text(of value: TemplateValue, line: Int) throws(ChatTemplateError) -> TemplateText {
    switch value {
    case .undefined: return TemplateText()
    case .none: return TemplateText("None")
    case .bool(let value): return TemplateText(value ? "True" : "False")
    case .integer(let value): return TemplateText("\(value)")
    case .number(let value): return TemplateText("\(value)")
    case .text(let text): return text
    case .list, .object, .namespace, .function:
      throw ChatTemplateError(
        .unsupported, line: line, "\(value.kind) as text is not supported; use the filter tojson")
    }
  }

  /// What a loop goes over.
  func elements(of value: TemplateValue, line: Int) throws(ChatTemplateError) -> [TemplateValue] {
    switch value {
    case .undefined: return []
    case .list(let values): return values
    case .object(let object): return object.members.map { .string($0.key) }
    case .text(let text):
      let offsets = text.characterOffsets()
      return zip(offsets, offsets.dropFirst()).map { .text(text.part($0..<$1)) }
    default:
      throw ChatTemplateError(.evaluation, line: line, "\(value.kind) cannot be gone over")
    }
  }
}
