import JSON
import MInference

/// OpenAI's messages as chat templates take them.
enum ChatMessages {
  /// Messages of one request at most.
  static let most = 4096

  /// - Parameter key: The field that holds them.
  static func read(_ values: [JSONValue], key: String = "messages") throws(APIError)
    -> [ChatMessage]
  {
    guard !values.isEmpty, values.count <= most else {
      throw .invalid("\(key) holds \(values.count) messages: give 1 to \(most)", parameter: key)
    }
    var messages: [ChatMessage] = []
    for (index, value) in values.enumerated() {
      let fields = try RequestFields(value, path: "\(key)[\(index)].")
      guard let role = try fields.text("role") else {
        throw fields.missing("role", "system, user, assistant or tool")
      }
      guard ["system", "developer", "user", "assistant", "tool", "function"].contains(role) else {
        throw .invalid(
          "\(key)[\(index)].role is \"\(role.prefix(40))\": give system, user, assistant or tool",
          parameter: "\(key)[\(index)].role")
      }
      var members: [ChatTemplateValue.Member] = []
      if let calls = try fields.list("tool_calls"), !calls.isEmpty {
        members.append(.init("tool_calls", .list(try calls.map(toolCall))))
      }
      for name in ["name", "tool_call_id"] {
        if let text = try fields.text(name) { members.append(.init(name, .string(text))) }
      }
      // By the names of DeepSeek, vLLM and Ollama.
      for name in ["reasoning_content", "reasoning", "thinking"] {
        guard let text = fields[name]?.text else { continue }
        members.append(.init("reasoning_content", .string(text)))
        break
      }
      messages.append(
        ChatMessage(
          role: role == "developer" ? "system" : role, content: try text(of: fields, "content"),
          members: members))
    }
    return messages
  }

  /// A string, or a list of parts that are text.
  static func text(of fields: RequestFields, _ key: String) throws(APIError) -> String {
    guard let value = fields[key] else { return "" }
    if let text = value.text { return text }
    guard let parts = value.elements else {
      throw fields.wrong(key, value, "a string or a list of text parts")
    }
    var texts: [String] = []
    for part in parts {
      if let text = part.text {
        texts.append(text)
        continue
      }
      guard let text = part["text"]?.text else {
        throw .invalid(
          "a part of \(key) is of type \(part["type"]?.kind ?? "unknown"): text alone is read",
          parameter: key)
      }
      texts.append(text)
    }
    return texts.joined()
  }

  /// A call that the model made earlier, its arguments as an object: templates write them as JSON.
  private static func toolCall(_ value: JSONValue) throws(APIError) -> ChatTemplateValue {
    let fields = try RequestFields(value, path: "tool_calls.")
    guard let function = try fields.object("function"), let name = try function.text("name") else {
      throw fields.missing("function", "an object with name and arguments")
    }
    return call(
      id: try fields.text("id"), name: name, arguments: function["arguments"] ?? .object([]))
  }

  /// - Parameter arguments: An object, or a text that holds one.
  static func call(id: String?, name: String, arguments: JSONValue) -> ChatTemplateValue {
    var arguments = arguments
    if let text = arguments.text, let parsed = try? JSONValue(parsing: Array(text.utf8)) {
      arguments = parsed
    }
    var members: [ChatTemplateValue.Member] = [
      .init("type", .string("function")),
      .init(
        "function",
        .object([.init("name", .string(name)), .init("arguments", ChatTemplateValue(arguments))])),
    ]
    if let id { members.insert(.init("id", .string(id)), at: 0) }
    return .object(members)
  }
}
