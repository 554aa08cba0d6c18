/// Carries out the statements of a template; expressions are in `ExpressionEvaluation.swift`.
final class TemplateEvaluator {
  /// How a statement ended.
  enum Flow {
    case onward
    case breakLoop, continueLoop
  }

  let budget: TemplateBudget
  /// Seconds since 1970 that `strftime_now` takes as now.
  let currentTime: Int
  private(set) var output = TemplateText()
  var scope: TemplateScope
  private let outermost: TemplateScope
  /// What the bodies of open `set` and `filter` blocks have written.
  var captured: [TemplateText] = []

  init(variables: [String: TemplateValue], currentTime: Int, budget: TemplateBudget) {
    self.budget = budget
    self.currentTime = currentTime
    let given = TemplateScope(in: TemplateScope(GlobalFunctions.values), variables)
    outermost = TemplateScope(in: given)
    scope = outermost
  }

  // MARK: Output

  func write(_ text: TemplateText) throws(ChatTemplateError) {
    try budget.make(bytes: text.bytes.count)
    output.append(text)
  }

  /// What `body` writes, instead of writing it.
  func capture(
    _ body: () throws(ChatTemplateError) -> Flow
  ) throws(ChatTemplateError) -> (text: TemplateText, flow: Flow) {
    let before = output
    output = TemplateText()
    defer { output = before }
    let flow = try body()
    return (output, flow)
  }

  /// Runs `body` with variables of its own.
  func withScope<Result>(
    in parent: TemplateScope? = nil, _ body: () throws(ChatTemplateError) -> Result
  ) throws(ChatTemplateError) -> Result {
    let outer = scope
    scope = TemplateScope(in: parent ?? outer)
    defer { scope = outer }
    return try body()
  }

  // MARK: Statements

  func run(_ statements: [TemplateStatement]) throws(ChatTemplateError) -> Flow {
    try budget.enter()
    defer { budget.leave() }
    for statement in statements {
      let flow = try run(statement)
      if flow != .onward { return flow }
    }
    return .onward
  }

  private func run(_ statement: TemplateStatement) throws(ChatTemplateError) -> Flow {
    try budget.spend(2)
    switch statement {
    case .text(let text): try write(text)
    case .output(let expression): try write(PythonText.str(evaluate(expression), budget))
    case .condition(let branches, let otherwise): return try runCondition(branches, otherwise)
    case .loop(let loop): try runLoop(loop)
    case .assign(let target, let expression, let line):
      let value = try evaluate(expression)
      budget.line = line
      try assign(value, to: target)
    case .assignBlock(let target, let expression, let body, let line):
      let (value, flow) = try runCaptured(body, expression)
      guard flow == .onward else { return flow }
      budget.line = line
      try assign(value, to: target)
    case .filterBlock(let expression, let body):
      let (value, flow) = try runCaptured(body, expression)
      guard flow == .onward else { return flow }
      try write(PythonText.str(value, budget))
    case .macro(let syntax, let line):
      budget.line = line
      scope.set(syntax.name, to: .object(TemplateMacro(syntax, in: scope, budget)))
    case .callBlock(let call, let caller, let line):
      budget.line = line
      try write(PythonText.str(evaluate(call: call, caller: caller), budget))
    case .with(let assignments, let body): return try runWith(assignments, body)
    case .scope(let body):
      return try withScope { () throws(ChatTemplateError) in try run(body) }
    case .block(let body, let isScoped):
      return try withScope(in: isScoped ? scope : outermost) {
        () throws(ChatTemplateError) in try run(body)
      }
    case .autoescape(let value, let body):
      if try evaluate(value).isTrue {
        throw budget.unsupported("autoescape is not supported for chat templates")
      }
      return try withScope { () throws(ChatTemplateError) in try run(body) }
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    case .refused(let keyword, let line):
      budget.line = line
      throw budget.unsupported(
        "\"\(keyword)\" needs another template; a chat template has none")
    }
    return .onward
  }

  private func runCondition(
    _ branches: [(test: TemplateExpression, body: [TemplateStatement])],
    _ otherwise: [TemplateStatement]
  ) throws(ChatTemplateError) -> Flow {
    for (test, body) in branches {
      if try evaluate(test).isTrue { return try run(body) }
    }
    return try run(otherwise)
  }

  /// What `expression` makes of what the body writes.
  private func runCaptured(
    _ body: [TemplateStatement], _ expression: TemplateExpression
  ) throws(ChatTemplateError) -> (value: TemplateValue, flow: Flow) {
    try withScope { () throws(ChatTemplateError) in
      let (text, flow) = try capture { () throws(ChatTemplateError) in try run(body) }
      captured.append(text)
      defer { captured.removeLast() }
      return (flow == .onward ? try evaluate(expression) : .none, flow)
    }
  }

  private func runWith(
    _ assignments: [(target: TemplateTarget, value: TemplateExpression)],
    _ body: [TemplateStatement]
  ) throws(ChatTemplateError) -> Flow {
    // The values are those outside.
    var values: [TemplateValue] = []
    for (_, value) in assignments { values.append(try evaluate(value)) }
    return try withScope { () throws(ChatTemplateError) in
      for (assignment, value) in zip(assignments, values) {
        try assign(value, to: assignment.target)
      }
      return try run(body)
    }
  }

  // MARK: Loops

  private func runLoop(_ loop: TemplateLoop) throws(ChatTemplateError) {
    let sequence = try evaluate(loop.sequence)
    budget.line = loop.line
    try run(loop, over: sequence, depth: 1, in: scope)
  }

  /// What a recursive loop writes for another sequence.
  func render(
    _ loop: TemplateLoop, over sequence: TemplateValue, depth: Int, in outer: TemplateScope
  ) throws(ChatTemplateError) -> TemplateText {
    try budget.enter()
    defer { budget.leave() }
    return try capture { () throws(ChatTemplateError) in
      try run(loop, over: sequence, depth: depth, in: outer)
      return .onward
    }.text
  }

  private func run(
    _ loop: TemplateLoop, over sequence: TemplateValue, depth: Int, in outer: TemplateScope
  ) throws(ChatTemplateError) {
    let state = try LoopState(loop, over: sequence, depth: depth, in: outer, self)
    let before = scope
    defer { scope = before }
    // As in Jinja, a round that ends by "break" or "continue" does not keep "else" from its turn.
    var hasRound = false
    while let value = try state.next(self) {
      try budget.spend(16)
      // Names set in the body last for one round.
      scope = TemplateScope(in: outer)
      try assign(value, to: loop.target)
      scope.set("loop", to: .object(state))
      let flow = try run(loop.body)
      if flow == .breakLoop { break }
      if flow == .onward { hasRound = true }
    }
    scope = TemplateScope(in: outer)
    if !hasRound { _ = try run(loop.otherwise) }
  }

  // MARK: Variables

  /// Gives values to the names of a loop or of `set`.
  func assign(_ value: TemplateValue, to target: TemplateTarget) throws(ChatTemplateError) {
    switch target {
    case .name(let name):
      try budget.spend(1)
      scope.set(name, to: value)
    case .member(let name, let member):
      guard case .object(let object)? = scope[name], let namespace = object as? TemplateNamespace
      else {
        throw budget.failure(
          "\"set \(name).\(member)\" needs a namespace, but \(name) is "
            + (scope[name]?.kind ?? "undefined"))
      }
      try namespace.set(member, to: value, budget)
    case .tuple(let targets):
      let values = try elements(of: value)
      guard values.count == targets.count else {
        throw budget.failure("\(value.kind) cannot be taken apart into \(targets.count) names")
      }
      for (target, value) in zip(targets, values) { try assign(value, to: target) }
    }
  }

  /// What a loop goes over.
  func elements(of value: TemplateValue) throws(ChatTemplateError) -> [TemplateValue] {
    switch value {
    case .undefined: return []
    case .sequence(let sequence):
      try budget.spend(1)
      return sequence.elements
    case .dictionary(let dictionary):
      try budget.make(elements: dictionary.members.count)
      return dictionary.members.map(\.key)
    case .text(let text):
      try budget.make(elements: text.bytes.count)
      let offsets = text.characterOffsets()
      return zip(offsets, offsets.dropFirst()).map { .text(text.part($0..<$1)) }
    case .object(let iterator as TemplateIterator):
      let rest = iterator.rest()
      try budget.make(elements: rest.count)
      return rest
    default: throw budget.failure("\(value.kind) cannot be gone over")
    }
  }
}
