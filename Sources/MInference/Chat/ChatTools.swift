public import ChatTemplates
package import JSON

extension ChatTemplateValue {
  /// The tools of a JSON text: a list of objects.
  ///
  /// - Parameter name: where the text is from, for errors.
  /// - Throws: ``LanguageModelError/malformedTools(name:problem:)``.
  public static func tools(
    ofJSON text: String, name: String
  ) throws(LanguageModelError) -> [ChatTemplateValue] {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: Array(text.utf8))
    } catch {
      throw .malformedTools(name: name, problem: "byte \(error.offset): \(error.problem)")
    }
    guard case .array(let tools) = value else {
      throw .malformedTools(name: name, problem: "is not a list")
    }
    return try tools.map { (tool) throws(LanguageModelError) in
      guard case .object = tool else {
        throw .malformedTools(name: name, problem: "holds something that is not an object")
      }
      return ChatTemplateValue(tool)
    }
  }

  /// The same value as a template sees it.
  package init(_ value: JSONValue) {
    switch value {
    case .null: self = .null
    case .boolean(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .number(value)
    case .string(let value): self = .string(value)
    case .array(let values): self = .list(values.map { ChatTemplateValue($0) })
    case .object(let members):
      self = .object(members.map { Member($0.key, ChatTemplateValue($0.value)) })
    }
  }
}
