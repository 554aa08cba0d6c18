/// A value while a template is evaluated. Values do not change; ``TemplateObject`` may.
enum TemplateValue {
  /// What does not exist: false, empty, and an error to use further. The text says why.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case text(TemplateText)
  case sequence(TemplateSequence)
  case dictionary(TemplateDictionary)
  case object(TemplateObject)

  static func string(_ string: String) -> TemplateValue { .text(TemplateText(string)) }

  /// Python's truth of the value.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .number(let value): value != 0
    case .text(let text): !text.isEmpty
    case .sequence(let sequence): !sequence.elements.isEmpty
    case .dictionary(let dictionary): !dictionary.members.isEmpty
    case .object(let object): object.isTrue
    }
  }

  /// What it is, for errors.
  var kind: String {
    switch self {
    case .undefined(let reason): reason
    case .none: "none"
    case .bool: "a truth value"
    case .integer, .number: "a number"
    case .text: "a text"
    case .sequence(let sequence): sequence.kind == .list ? "a list" : "a sequence"
    case .dictionary: "an object"
    case .object(let object): object.kind
    }
  }

  /// How deep values are nested within it.
  var depth: Int {
    switch self {
    case .undefined, .none, .bool, .integer, .number, .text: 0
    case .sequence(let sequence): Int(sequence.depth)
    case .dictionary(let dictionary): dictionary.depth
    case .object(let object): object.depth
    }
  }

  /// The number that it counts as in arithmetic and comparison; Python's true is 1.
  var asNumber: Double? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The whole number that it counts as.
  var asInteger: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  var asText: TemplateText? {
    if case .text(let text) = self { text } else { nil }
  }

  var isUndefined: Bool {
    if case .undefined = self { true } else { false }
  }

  var isNone: Bool {
    if case .none = self { true } else { false }
  }

  /// A caller's value.
  init(_ value: ChatTemplateValue, _ budget: TemplateBudget) throws(ChatTemplateError) {
    switch value {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .number(value)
    case .string(let value): self = .text(TemplateText(value))
    case .list(let values):
      try budget.enter()
      defer { budget.leave() }
      var elements: [TemplateValue] = []
      for value in values { elements.append(try TemplateValue(value, budget)) }
      self = try .list(elements, budget)
    case .object(let members):
      try budget.enter()
      defer { budget.leave() }
      var builder = TemplateDictionary.Builder()
      for member in members {
        try builder.set(.string(member.key), to: TemplateValue(member.value, budget), budget)
      }
      self = .dictionary(try builder.dictionary(budget))
    }
  }

  /// A list of the elements.
  static func list(
    _ elements: [TemplateValue], _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    .sequence(try TemplateSequence(.list, elements, budget))
  }

  static func tuple(
    _ elements: [TemplateValue], _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    .sequence(try TemplateSequence(.tuple, elements, budget))
  }

  /// What Python calls an iterator: its elements can be gone over once.
  static func iterator(
    _ elements: [TemplateValue], _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateValue {
    .object(try TemplateIterator(elements, budget))
  }
}
