import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /v1/messages and /v1/messages/count_tokens.
///
/// Source: https://docs.anthropic.com/en/api/messages, and what Claude Code sends.
struct Messages: Sendable {
  let server: ServerState

  func respond(to request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    var call = try Self.call(fields, model: model)
    guard let most = try fields.int("max_tokens", in: 1...Int(Int32.max)) else {
      throw fields.missing("max_tokens", "the most tokens of the answer")
    }
    call.maximumTokens = most
    let settings = call
    let limit = server.options.promptTokens
    let (answerRequest, parser) = try await WorkerThread.run {
      try settings.request(for: model, limit: limit)
    }
    let answer = try model.engine.submit(answerRequest)
    let format = MessagesFormat(
      id: Identifier.make("msg"), model: model, promptTokens: answerRequest.prompt.count)
    let response = AnswerResponse(
      answer: answer, parser: parser, heartbeatSeconds: server.options.heartbeatSeconds,
      context: context)
    return try fields.bool("stream") ?? false
      ? response.streamed(format) : try await response.whole(format)
  }

  func countTokens(_ request: Request) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let call = try Self.call(fields, model: model)
    let ids = try await WorkerThread.run { try call.encode(for: model, limit: nil) }
    return Response(.object([("input_tokens", .integer(ids.count))]))
  }

  static func call(_ fields: RequestFields, model: ServedModel) throws(APIError) -> ChatCall {
    var call = try ChatCall(common: fields, model: model)
    let system = try ChatMessages.text(of: fields, "system")
    if !system.isEmpty { call.messages.append(ChatMessage(role: "system", content: system)) }
    guard let messages = try fields.list("messages"), messages.count <= ChatMessages.most else {
      throw fields.missing("messages", "a list of up to \(ChatMessages.most) messages")
    }
    for (index, value) in messages.enumerated() {
      call.messages += try Self.messages(RequestFields(value, path: "messages[\(index)]."))
    }
    for value in try fields.list("tools") ?? [] {
      // Tools with a type of their own are run by the provider.
      if let type = value["type"]?.text, type != "custom" { continue }
      call.tools.functions.append(
        try Tools.function(RequestFields(value, path: "tools."), schema: "input_schema"))
    }
    try call.tools.check()
    if let choice = try fields.object("tool_choice") {
      switch try choice.text("type") {
      case "none": call.tools.choice = .none
      case "any": call.tools.choice = .required
      case "tool": try call.tools.choose(try choice.text("name") ?? "")
      default: call.tools.choice = .auto
      }
    }
    if let thinking = try fields.object("thinking")?.text("type") {
      call.variables["enable_thinking"] = .bool(thinking != "disabled")
    }
    call.stopStrings = try fields.stopStrings("stop_sequences")
    return call
  }

  /// One message, which results of tools make several.
  private static func messages(_ fields: RequestFields) throws(APIError) -> [ChatMessage] {
    guard let role = try fields.text("role"), ["user", "assistant", "system"].contains(role) else {
      throw fields.missing("role", "user or assistant")
    }
    guard let blocks = fields["content"]?.elements else {
      return [ChatMessage(role: role, content: try ChatMessages.text(of: fields, "content"))]
    }
    var result: [ChatMessage] = []
    var text = ""
    var calls: [ChatTemplateValue] = []
    var thinking = ""
    for block in blocks {
      let block = try RequestFields(block, path: "content.")
      switch try block.text("type") {
      case "text": text += try block.text("text") ?? ""
      case "thinking": thinking += try block.text("thinking") ?? ""
      case "redacted_thinking": continue
      case "tool_use":
        calls.append(
          ChatMessages.call(
            id: try block.text("id"), name: try block.text("name") ?? "",
            arguments: block["input"] ?? .object([])))
      case "tool_result":
        var members: [ChatTemplateValue.Member] = []
        if let id = try block.text("tool_use_id") {
          members = [.init("tool_call_id", .string(id))]
        }
        result.append(
          ChatMessage(
            role: "tool", content: try ChatMessages.text(of: block, "content"), members: members))
      case let type:
        throw .invalid(
          "content holds a block of type \(type ?? "unknown"): text and tools alone are read",
          parameter: "messages")
      }
    }
    var members: [ChatTemplateValue.Member] = []
    if !calls.isEmpty { members.append(.init("tool_calls", .list(calls))) }
    if !thinking.isEmpty { members.append(.init("reasoning_content", .string(thinking))) }
    if !text.isEmpty || !members.isEmpty || result.isEmpty {
      result.append(ChatMessage(role: role, content: text, members: members))
    }
    return result
  }
}

/// The words of messages: blocks that start, are filled and stop.
struct MessagesFormat: AnswerFormat {
  let id: String
  let model: ServedModel
  let promptTokens: Int
  private var blocks = 0
  private var open: Block?

  private enum Block {
    case text
    case thinking
    case tool
  }

  init(id: String, model: ServedModel, promptTokens: Int) {
    self.id = id
    self.model = model
    self.promptTokens = promptTokens
  }

  var heartbeat: String {
    ServerSentEvent.event("ping", .object([("type", .string("ping"))]))
  }

  mutating func begin() -> String {
    event("message_start", [("message", message([], nil))])
  }

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress: return ""
    case .text(let text, _):
      guard !text.isEmpty else { return "" }
      let start = begin(
        .text, [("type", .string("text")), ("text", .string(""))])
      return start + delta([("type", .string("text_delta")), ("text", .string(text))])
    case .reasoning(let text):
      let start = begin(
        .thinking,
        [("type", .string("thinking")), ("thinking", .string("")), ("signature", .string(""))])
      return start + delta([("type", .string("thinking_delta")), ("thinking", .string(text))])
    case .toolCall(_, let id, let name):
      let end = close()
      return end
        + begin(
          .tool,
          [
            ("type", .string("tool_use")), ("id", .string(id)), ("name", .string(name)),
            ("input", .object([])),
          ])
    case .toolArguments(_, let text):
      return delta([("type", .string("input_json_delta")), ("partial_json", .string(text))])
    case .end(let end):
      return close()
        + event(
          "message_delta",
          [
            (
              "delta",
              .object([
                ("stop_reason", .string(Self.reason(end))),
                ("stop_sequence", end.stopString.map { .string($0) } ?? .null),
              ])
            ),
            ("usage", Self.usage(end)),
          ])
    }
  }

  mutating func text(of error: APIError) -> String {
    ServerSentEvent.event("error", error.messagesJSON)
  }

  mutating func finish() -> String { event("message_stop", []) }

  func json(_ output: CollectedOutput) -> JSONValue {
    var content: [JSONValue] = []
    if !output.reasoning.isEmpty {
      content.append(
        .object([
          ("type", .string("thinking")), ("thinking", .string(output.reasoning)),
          ("signature", .string("")),
        ]))
    }
    if !output.text.isEmpty || output.toolCalls.isEmpty {
      content.append(.object([("type", .string("text")), ("text", .string(output.text))]))
    }
    content += output.toolCalls.map { call in
      let input = try? JSONValue(parsing: Array(call.arguments.utf8))
      return .object([
        ("type", .string("tool_use")), ("id", .string(call.id)), ("name", .string(call.name)),
        ("input", input ?? .object([])),
      ])
    }
    return message(content, output.end)
  }

  private mutating func begin(_ kind: Block, _ block: [(String, JSONValue)]) -> String {
    if open == kind { return "" }
    let end = close()
    open = kind
    return end
      + event(
        "content_block_start",
        [("index", .integer(blocks)), ("content_block", .object(block))])
  }

  private mutating func close() -> String {
    guard open != nil else { return "" }
    open = nil
    defer { blocks += 1 }
    return event("content_block_stop", [("index", .integer(blocks))])
  }

  private func delta(_ members: [(String, JSONValue)]) -> String {
    event("content_block_delta", [("index", .integer(blocks)), ("delta", .object(members))])
  }

  private func event(_ name: String, _ members: [(String, JSONValue)]) -> String {
    ServerSentEvent.event(name, .object([("type", .string(name))] + members))
  }

  private func message(_ content: [JSONValue], _ end: OutputEnd?) -> JSONValue {
    .object([
      ("id", .string(id)), ("type", .string("message")), ("role", .string("assistant")),
      ("model", .string(model.name)), ("content", .array(content)),
      ("stop_reason", end.map { .string(Self.reason($0)) } ?? .null),
      ("stop_sequence", end?.stopString.map { .string($0) } ?? .null),
      (
        "usage",
        end.map { Self.usage($0) }
          ?? .object([("input_tokens", .integer(promptTokens)), ("output_tokens", .integer(0))])
      ),
    ])
  }

  private static func reason(_ end: OutputEnd) -> String {
    switch end.reason {
    case .toolCalls: "tool_use"
    case .length: "max_tokens"
    case .stop: end.stopString == nil ? "end_turn" : "stop_sequence"
    }
  }

  /// Cached tokens are counted apart, as Anthropic does.
  private static func usage(_ end: OutputEnd) -> JSONValue {
    let summary = end.summary
    return .object([
      ("input_tokens", .integer(summary.promptTokens - summary.cachedTokens)),
      ("cache_read_input_tokens", .integer(summary.cachedTokens)),
      ("cache_creation_input_tokens", .integer(0)),
      ("output_tokens", .integer(summary.completionTokens)),
    ])
  }
}
