import JSON
import MInference

/// The functions that a model may call.
struct Tools: Sendable, Equatable {
  /// Whether, and which of them, the model calls.
  enum Choice: Sendable, Equatable {
    case none
    case auto
    /// At least one.
    case required
    case function(String)
  }

  struct Function: Sendable, Equatable {
    var name: String
    var description: String?
    /// A JSON schema; nil for no arguments in particular.
    var parameters: JSONValue?

    /// As templates and OpenAI have it.
    var json: JSONValue {
      var members: [(String, JSONValue)] = [("name", .string(name))]
      if let description { members.append(("description", .string(description))) }
      members.append(("parameters", parameters ?? .object([("type", .string("object"))])))
      return .object([("type", .string("function")), ("function", .object(members))])
    }
  }

  var functions: [Function] = []
  var choice = Choice.auto

  /// Functions of one request at most.
  static let most = 128

  /// Whether the model is told of them.
  var areOffered: Bool { !functions.isEmpty && choice != .none }

  init() {}

  /// `tools` and `tool_choice` of a chat completion.
  init(_ fields: RequestFields) throws(APIError) {
    for value in try fields.list("tools") ?? [] {
      let tool = try RequestFields(value, path: "tools.")
      guard let function = try tool.object("function") else {
        throw tool.missing("function", "an object with a name")
      }
      functions.append(try Self.function(function, schema: "parameters"))
    }
    try check()
    guard let choice = fields["tool_choice"] else { return }
    switch choice.text {
    case "none": self.choice = .none
    case "auto": self.choice = .auto
    case "required": self.choice = .required
    default:
      guard let name = choice["function"]?["name"]?.text ?? choice["name"]?.text else {
        throw fields.wrong(
          "tool_choice", choice, "none, auto, required, or an object that names a function")
      }
      try choose(name)
    }
  }

  mutating func choose(_ name: String) throws(APIError) {
    guard functions.contains(where: { $0.name == name }) else {
      throw .invalid(
        "tool_choice names \"\(name.prefix(100))\", which is not among the tools",
        parameter: "tool_choice")
    }
    choice = .function(name)
  }

  func check() throws(APIError) {
    guard functions.count <= Self.most else {
      throw .invalid(
        "there are \(functions.count) tools: give \(Self.most) or fewer", parameter: "tools")
    }
  }

  /// - Parameter schema: What the field with the schema of the arguments is called.
  static func function(
    _ fields: RequestFields, schema: String
  ) throws(APIError) -> Function {
    guard let name = try fields.text("name"), !name.isEmpty,
      name.unicodeScalars.count <= 256
    else {
      throw fields.missing("name", "a name of up to 256 characters")
    }
    return Function(
      name: name, description: try fields.text("description"),
      parameters: try fields.object(schema)?.value)
  }

  /// The values that a template gets.
  var templateValues: [ChatTemplateValue] {
    areOffered ? functions.map { ChatTemplateValue($0.json) } : []
  }

  /// What a model is told by a template that knows no tools, in the form that most models have seen.
  var instructions: String {
    let list = functions.map { $0.json.serialized() }.joined(separator: "\n")
    return """
      You may call functions. Their signatures, one a line, within <tools></tools>:
      <tools>
      \(list)
      </tools>
      For each call write a JSON object with the name and the arguments within <tool_call></tool_call>:
      <tool_call>
      {"name": FUNCTION, "arguments": OBJECT}
      </tool_call>
      """
  }
}
