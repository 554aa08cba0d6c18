/// A macro, or the body of a call block, together with the variables around it.
final class TemplateMacro: TemplateObject {
  private let syntax: TemplateMacroSyntax
  private var closure: TemplateScope?

  init(_ syntax: TemplateMacroSyntax, in scope: TemplateScope, _ budget: TemplateBudget) {
    self.syntax = syntax
    closure = scope
    super.init()
    budget.register(self)
  }

  var name: String { syntax.name }
  override var kind: String { "the macro \(name)" }
  override var isCallable: Bool { true }

  override func member(
    _ name: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? {
    switch name {
    case "name": return .string(syntax.name)
    case "arguments": return try .tuple(syntax.parameters.map { .string($0) }, evaluator.budget)
    case "catch_kwargs": return .bool(syntax.takesNamed)
    case "catch_varargs": return .bool(syntax.takesPositional)
    case "caller": return .bool(syntax.takesCaller)
    default: return nil
    }
  }

  override func call(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let budget = evaluator.budget
    try budget.enter()
    defer { budget.leave() }
    try budget.spend(32)
    let parameters = syntax.parameters
    var values: [TemplateValue?] = arguments.positional.prefix(parameters.count).map { $0 }
    var named = arguments.named
    for name in parameters.dropFirst(values.count) {
      let index = named.firstIndex { $0.name == name }
      values.append(index.map { named.remove(at: $0).value })
    }
    var caller: TemplateValue?
    let hasOwnCaller = parameters.contains("caller")
    if syntax.takesCaller, !hasOwnCaller {
      let index = named.firstIndex { $0.name == "caller" }
      caller = index.map { named.remove(at: $0).value } ?? .undefined("no caller is defined")
    }
    if !syntax.takesNamed, let name = named.first?.name {
      throw budget.failure("the macro \(self.name) has no parameter \"\(name)\"")
    }
    let further = Array(arguments.positional.dropFirst(parameters.count))
    if !syntax.takesPositional, !further.isEmpty {
      throw budget.failure("the macro \(name) takes at most \(parameters.count) arguments")
    }

    let line = budget.line
    let text = try evaluator.withScope(in: closure) { () throws(ChatTemplateError) in
      let scope = evaluator.scope
      for (index, name) in parameters.enumerated() {
        let value: TemplateValue
        if let given = values[index] {
          value = given
        } else if let fallback = defaultValue(of: index) {
          value = try evaluator.evaluate(fallback)
        } else {
          value = .undefined("the parameter \(name) of \(self.name) is undefined")
        }
        scope.set(name, to: value)
      }
      if let caller { scope.set("caller", to: caller) }
      if syntax.takesNamed {
        var builder = TemplateDictionary.Builder()
        for (name, value) in named { try builder.set(.string(name), to: value, budget) }
        scope.set("kwargs", to: .dictionary(try builder.dictionary(budget)))
      }
      if syntax.takesPositional { scope.set("varargs", to: try .tuple(further, budget)) }
      return try evaluator.capture { () throws(ChatTemplateError) in
        try evaluator.run(syntax.body)
      }.text
    }
    budget.line = line
    return .text(text)
  }

  private func defaultValue(of index: Int) -> TemplateExpression? {
    let first = syntax.parameters.count - syntax.defaults.count
    return index >= first ? syntax.defaults[index - first] : nil
  }

  override func clear() { closure = nil }
}
