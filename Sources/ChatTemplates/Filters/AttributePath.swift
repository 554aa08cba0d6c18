/// What the filters' parameter `attribute` names: members one within the other, such as `a.b.0`.
struct AttributePath {
  private let parts: [TemplateValue]
  private let fallback: TemplateValue?

  /// - Parameter attribute: a text, a number, or nothing, which means the element itself.
  init(_ attribute: TemplateValue?, default fallback: TemplateValue? = nil) {
    self.fallback = fallback
    switch attribute {
    case nil: parts = []
    case .text(let text): parts = Self.parts(of: text)
    case .some(let other): parts = [other]
    }
  }

  private init(parts: [TemplateValue]) {
    self.parts = parts
    fallback = nil
  }

  private static func parts(of text: TemplateText) -> [TemplateValue] {
    text.split(by: [0x2E], limit: .max).map { part in
      let isNumber = !part.isEmpty && part.bytes.allSatisfy { (0x30...0x39).contains($0) }
      return (isNumber ? Int(part.string) : nil).map { .integer($0) } ?? .text(part)
    }
  }

  /// The paths of a list with commas.
  static func several(_ attribute: TemplateValue?) -> [AttributePath] {
    guard case .text(let text)? = attribute else { return [AttributePath(attribute)] }
    return text.split(by: [0x2C], limit: .max).map { AttributePath(parts: parts(of: $0)) }
  }

  func value(
    of element: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    var value = element
    for part in parts {
      try evaluator.budget.spend(4)
      value = try Subscript.element(part, of: value, evaluator)
      if let fallback, value.isUndefined { value = fallback }
    }
    return value
  }

  /// What elements are sorted and grouped by.
  func key(
    of element: TemplateValue, isCaseSensitive: Bool, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    let value = try value(of: element, evaluator)
    return isCaseSensitive ? value : try Self.lowercased(value, evaluator)
  }

  static func lowercased(
    _ value: TemplateValue, _ evaluator: TemplateEvaluator
  ) throws(ChatTemplateError) -> TemplateValue {
    guard case .text(let text) = value else { return value }
    return try TextMethods.call("lower", of: text, TemplateArguments(), evaluator)
  }
}
