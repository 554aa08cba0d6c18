/// The variables of one level: a template, a round of a loop, a call of a macro.
final class TemplateScope {
  private var values: [String: TemplateValue]
  private let parent: TemplateScope?

  init(in parent: TemplateScope? = nil, _ values: [String: TemplateValue] = [:]) {
    self.parent = parent
    self.values = values
  }

  /// The value that a name has here, or in the nearest level around that has one.
  subscript(name: String) -> TemplateValue? {
    var scope: TemplateScope? = self
    while let current = scope {
      if let value = current.values[name] { return value }
      scope = current.parent
    }
    return nil
  }

  func set(_ name: String, to value: TemplateValue) { values[name] = value }
}
