import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /v1/responses, without state: every request brings its whole conversation.
///
/// Source: https://platform.openai.com/docs/api-reference/responses, and what Codex sends.
struct Responses: Sendable {
  let server: ServerState

  func respond(to request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    for key in ["previous_response_id", "conversation"] where fields[key] != nil {
      throw APIError.invalid(
        "\(key) is not supported, since nothing is stored; send the whole conversation as input",
        parameter: key)
    }
    let call = try Self.call(fields, model: model)
    let (answer, parser) = try await server.submit(call, to: model)
    let format = ResponseAnswerFormat(
      id: Identifier.make("resp"), created: Clock.now, model: model,
      attention: call.attention ?? model.engine.options.session.attention, request: fields.value)
    let response = AnswerResponse(
      answer: answer, parser: parser, heartbeatSeconds: server.options.heartbeatSeconds,
      context: context)
    return try fields.bool("stream") ?? false
      ? response.streamed(format) : try await response.whole(format)
  }

  static func call(_ fields: RequestFields, model: ServedModel) throws(APIError) -> ChatCall {
    var call = try ChatCall(common: fields, model: model)
    if let instructions = try fields.text("instructions"), !instructions.isEmpty {
      call.messages.append(ChatMessage(role: "system", content: instructions))
    }
    call.messages += try input(fields)
    guard !call.messages.isEmpty else { throw fields.missing("input", "a text or a list") }
    for value in try fields.list("tools") ?? [] {
      // Tools that the provider would run itself are none of a local server's.
      guard value["type"]?.text == "function" else { continue }
      call.tools.functions.append(
        try Tools.function(RequestFields(value, path: "tools."), schema: "parameters"))
    }
    try call.tools.check()
    switch fields["tool_choice"]?.text {
    case "none": call.tools.choice = .none
    case "required": call.tools.choice = .required
    default:
      if let name = fields["tool_choice"]?["name"]?.text { try call.tools.choose(name) }
    }
    if let effort = try fields.object("reasoning")?.text("effort") {
      call.variables["reasoning_effort"] = .string(effort)
      if effort == "none" || effort == "minimal" {
        call.variables["enable_thinking"] = .bool(false)
      }
    }
    if let format = try fields.object("text")?.object("format") {
      call.format = try ResponseFormat(format: format, key: "text.format")
    }
    call.maximumTokens = try fields.int("max_output_tokens", in: 1...Int(Int32.max))
    return call
  }

  /// The conversation: a text, or items.
  private static func input(_ fields: RequestFields) throws(APIError) -> [ChatMessage] {
    guard let input = fields["input"] else { return [] }
    if let text = input.text { return [ChatMessage(role: "user", content: text)] }
    guard let items = input.elements, items.count <= ChatMessages.most else {
      throw fields.wrong("input", input, "a text or a list of up to \(ChatMessages.most) items")
    }
    // Probes send nothing, to see whether anybody answers.
    if items.isEmpty { return [ChatMessage(role: "user", content: " ")] }
    var messages: [ChatMessage] = []
    // What the model thought before its next message or call.
    var reasoning = ""
    for (index, value) in items.enumerated() {
      let item = try RequestFields(value, path: "input[\(index)].")
      switch try item.text("type") ?? "message" {
      case "message":
        guard let role = try item.text("role") else {
          throw item.missing("role", "system, developer, user or assistant")
        }
        messages.append(
          ChatMessage(
            role: role == "developer" ? "system" : role,
            content: try ChatMessages.text(of: item, "content"),
            members: role == "assistant" ? Self.members(&reasoning) : []))
      case "function_call":
        guard let name = try item.text("name") else { throw item.missing("name", "a name") }
        let made = ChatMessages.call(
          id: try item.text("call_id"), name: name, arguments: item["arguments"] ?? .object([]))
        messages.append(
          ChatMessage(
            role: "assistant", content: "",
            members: Self.members(&reasoning) + [.init("tool_calls", .list([made]))]))
      case "function_call_output":
        var members: [ChatTemplateValue.Member] = []
        if let id = try item.text("call_id") { members = [.init("tool_call_id", .string(id))] }
        messages.append(
          ChatMessage(
            role: "tool", content: try ChatMessages.text(of: item, "output"), members: members))
      case "reasoning": reasoning += (try? ChatMessages.text(of: item, "content")) ?? ""
      // Calls of the provider's own tools.
      default: continue
      }
    }
    return messages
  }

  private static func members(_ reasoning: inout String) -> [ChatTemplateValue.Member] {
    defer { reasoning = "" }
    return reasoning.isEmpty ? [] : [.init("reasoning_content", .string(reasoning))]
  }
}

/// The words of responses: items that are added, filled and done.
struct ResponseAnswerFormat: AnswerFormat {
  let id: String
  let created: Int
  let model: ServedModel
  let attention: AttentionOptions
  /// Parts of it come back in the answer.
  let request: JSONValue
  private var sequence = 0
  /// Items that are complete.
  private var items: [JSONValue] = []
  private var open: Item?

  /// The item that is being filled.
  private enum Item: Sendable {
    case message(id: String, text: String)
    case reasoning(id: String, text: String)
    case call(id: String, callID: String, name: String, arguments: String)
  }

  init(
    id: String, created: Int, model: ServedModel, attention: AttentionOptions, request: JSONValue
  ) {
    self.id = id
    self.created = created
    self.model = model
    self.attention = attention
    self.request = request
  }

  mutating func begin() -> String {
    event("response.created", [("response", response("in_progress", [], nil))])
      + event("response.in_progress", [("response", response("in_progress", [], nil))])
  }

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress: return ""
    case .text(let text, _):
      guard !text.isEmpty else { return "" }
      var events = ""
      if case .message = open {
      } else {
        events = close()
        let item = Identifier.make("msg")
        open = .message(id: item, text: "")
        events += event(
          "response.output_item.added",
          [("output_index", .integer(items.count)), ("item", Self.message(item, nil))])
        events += event(
          "response.content_part.added",
          place(item) + [("content_index", .integer(0)), ("part", Self.part(""))])
      }
      guard case .message(let item, let before) = open else { return events }
      open = .message(id: item, text: before + text)
      return events
        + event(
          "response.output_text.delta",
          place(item) + [
            ("content_index", .integer(0)), ("delta", .string(text)), ("logprobs", .array([])),
          ])
    case .reasoning(let text):
      var events = ""
      if case .reasoning = open {
      } else {
        events = close()
        let item = Identifier.make("rs")
        open = .reasoning(id: item, text: "")
        events += event(
          "response.output_item.added",
          [("output_index", .integer(items.count)), ("item", Self.reasoning(item, nil))])
      }
      guard case .reasoning(let item, let before) = open else { return events }
      open = .reasoning(id: item, text: before + text)
      return events
        + event(
          "response.reasoning_text.delta",
          place(item) + [("content_index", .integer(0)), ("delta", .string(text))])
    case .toolCall(_, let callID, let name):
      var events = close()
      let item = Identifier.make("fc")
      open = .call(id: item, callID: callID, name: name, arguments: "")
      events += event(
        "response.output_item.added",
        [
          ("output_index", .integer(items.count)),
          ("item", Self.call(item, callID, name, "", isDone: false)),
        ])
      return events
    case .toolArguments(_, let text):
      guard case .call(let item, let callID, let name, let before) = open else { return "" }
      open = .call(id: item, callID: callID, name: name, arguments: before + text)
      return event(
        "response.function_call_arguments.delta", place(item) + [("delta", .string(text))])
    case .end(let end):
      let events = close()
      let (name, status) =
        end.reason == .length
        ? ("response.incomplete", "incomplete") : ("response.completed", "completed")
      return events + event(name, [("response", response(status, items, end))])
    }
  }

  mutating func text(of error: APIError) -> String {
    event(
      "error",
      [
        ("code", error.code.map { .string($0) } ?? .string(error.type)),
        ("message", .string(error.message)),
        ("param", error.parameter.map { .string($0) } ?? .null),
      ])
  }

  func json(_ output: CollectedOutput) -> JSONValue {
    var items: [JSONValue] = []
    if !output.reasoning.isEmpty {
      items.append(Self.reasoning(Identifier.make("rs"), output.reasoning))
    }
    if !output.text.isEmpty || output.toolCalls.isEmpty {
      items.append(Self.message(Identifier.make("msg"), output.text))
    }
    items += output.toolCalls.map {
      Self.call(Identifier.make("fc"), $0.id, $0.name, $0.arguments, isDone: true)
    }
    let status = output.end?.reason == .length ? "incomplete" : "completed"
    return response(status, items, output.end)
  }

  /// Completes the item that is open.
  private mutating func close() -> String {
    guard let item = open else { return "" }
    open = nil
    let events: String
    let whole: JSONValue
    switch item {
    case .message(let id, let text):
      whole = Self.message(id, text)
      events =
        event(
          "response.output_text.done",
          place(id) + [
            ("content_index", .integer(0)), ("text", .string(text)), ("logprobs", .array([])),
          ])
        + event(
          "response.content_part.done",
          place(id) + [("content_index", .integer(0)), ("part", Self.part(text))])
    case .reasoning(let id, let text):
      whole = Self.reasoning(id, text)
      events = event(
        "response.reasoning_text.done",
        place(id) + [("content_index", .integer(0)), ("text", .string(text))])
    case .call(let id, let callID, let name, let arguments):
      whole = Self.call(id, callID, name, arguments, isDone: true)
      events = event(
        "response.function_call_arguments.done",
        place(id) + [("name", .string(name)), ("arguments", .string(arguments))])
    }
    let done = event(
      "response.output_item.done", [("output_index", .integer(items.count)), ("item", whole)])
    items.append(whole)
    return events + done
  }

  private func place(_ item: String) -> [(String, JSONValue)] {
    [("item_id", .string(item)), ("output_index", .integer(items.count))]
  }

  private mutating func event(_ name: String, _ members: [(String, JSONValue)]) -> String {
    defer { sequence += 1 }
    return ServerSentEvent.event(
      name, .object([("type", .string(name)), ("sequence_number", .integer(sequence))] + members))
  }

  private static func part(_ text: String) -> JSONValue {
    .object([
      ("type", .string("output_text")), ("text", .string(text)), ("annotations", .array([])),
      ("logprobs", .array([])),
    ])
  }

  /// - Parameter text: nil while there is none.
  private static func message(_ id: String, _ text: String?) -> JSONValue {
    .object([
      ("id", .string(id)), ("type", .string("message")), ("role", .string("assistant")),
      ("status", .string(text == nil ? "in_progress" : "completed")),
      ("content", .array(text.map { [part($0)] } ?? [])),
    ])
  }

  private static func reasoning(_ id: String, _ text: String?) -> JSONValue {
    .object([
      ("id", .string(id)), ("type", .string("reasoning")), ("summary", .array([])),
      (
        "content",
        .array(
          text.map {
            [.object([("type", .string("reasoning_text")), ("text", .string($0))])]
          } ?? [])
      ),
    ])
  }

  private static func call(
    _ id: String, _ callID: String, _ name: String, _ arguments: String, isDone: Bool
  ) -> JSONValue {
    .object([
      ("id", .string(id)), ("type", .string("function_call")), ("call_id", .string(callID)),
      ("name", .string(name)), ("arguments", .string(arguments)),
      ("status", .string(isDone ? "completed" : "in_progress")),
    ])
  }

  private func response(_ status: String, _ items: [JSONValue], _ end: OutputEnd?) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("id", .string(id)), ("object", .string("response")), ("created_at", .integer(created)),
      ("status", .string(status)), ("model", .string(model.name)), ("output", .array(items)),
      ("error", .null), ("previous_response_id", .null), ("store", .boolean(false)),
      (
        "incomplete_details",
        status == "incomplete"
          ? .object([("reason", .string("max_output_tokens"))]) : .null
      ),
    ]
    for (key, missing) in [
      ("instructions", JSONValue.null), ("max_output_tokens", .null), ("metadata", .object([])),
      ("parallel_tool_calls", .boolean(true)), ("temperature", .null), ("top_p", .null),
      ("tool_choice", .string("auto")), ("tools", .array([])),
    ] {
      members.append((key, request[key] ?? missing))
    }
    guard let end else { return .object(members + [("usage", .null)]) }
    let summary = end.summary
    let figures = AnswerFigures(end: end)
    return .object(
      members + [
        (
          "usage",
          .object([
            ("input_tokens", .integer(summary.promptTokens)),
            (
              "input_tokens_details",
              .object([("cached_tokens", .integer(summary.cachedTokens))])
            ),
            ("output_tokens", .integer(summary.completionTokens)),
            (
              "output_tokens_details",
              .object([("reasoning_tokens", .integer(end.reasoningTokens))])
            ),
            ("total_tokens", .integer(summary.promptTokens + summary.completionTokens)),
          ])
        ),
        ("attention", figures.attention(attention)),
      ])
  }
}
