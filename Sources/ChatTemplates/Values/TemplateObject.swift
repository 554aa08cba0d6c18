/// A value with an identity: functions, macros, namespaces, the variable `loop`.
class TemplateObject {
  /// What it is, for errors.
  var kind: String { "an object of the template language" }
  /// How deep values are nested within it.
  var depth: Int { 1 }
  var isTrue: Bool { true }
  var isCallable: Bool { false }

  /// The value of `object.name`; nil where there is none.
  func member(
    _ name: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? { nil }

  func call(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    throw evaluator.budget.failure("\(kind) cannot be called")
  }

  /// Lets go of all values, at the end of a rendering.
  func clear() {}
}

/// A function of the template language, or a method together with the value that it belongs to.
final class TemplateFunction: TemplateObject {
  typealias Body = (TemplateArguments, TemplateEvaluator) throws(ChatTemplateError) -> TemplateValue

  let name: String
  private let depthOfReceiver: Int
  private let body: Body

  init(_ name: String, depth: Int = 0, _ body: @escaping Body) {
    self.name = name
    depthOfReceiver = depth
    self.body = body
  }

  override var kind: String { "the function \(name)" }
  override var depth: Int { depthOfReceiver + 1 }
  override var isCallable: Bool { true }

  override func call(
    _ arguments: TemplateArguments, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue { try body(arguments, evaluator) }
}

/// What `namespace(...)` makes: the one value whose members `set` changes.
final class TemplateNamespace: TemplateObject {
  private var members: [String: TemplateValue] = [:]
  private var names: [String] = []
  private var depthOfMembers = 1

  init(_ budget: TemplateBudget) {
    super.init()
    budget.register(self)
  }

  override var kind: String { "a namespace" }
  override var depth: Int { depthOfMembers }

  override func member(
    _ name: String, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue? { members[name] }

  func set(
    _ name: String, to value: TemplateValue, _ budget: TemplateBudget
  ) throws(ChatTemplateError) {
    if members[name] == nil {
      try budget.make(elements: 2)
      names.append(name)
    }
    depthOfMembers = max(depthOfMembers, try budget.depth(around: value.depth))
    members[name] = value
  }

  /// Its members in the order in which they came.
  func dictionary(_ budget: TemplateBudget) throws(ChatTemplateError) -> TemplateDictionary {
    var builder = TemplateDictionary.Builder()
    for name in names { try builder.set(.string(name), to: members[name] ?? .none, budget) }
    return try builder.dictionary(budget)
  }

  override func clear() { members.removeAll() }
}
