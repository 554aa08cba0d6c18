import HTTPTypes
import Hummingbird
import JSON
import MInference

/// GET /api/version, /api/tags, POST /api/show, /api/chat: what clients of Ollama ask for.
///
/// Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
struct Ollama: Sendable {
  let server: ServerState

  /// Clients compare it with the version from which on something works.
  func version() -> Response { Response(.object([("version", .string("0.12.0"))])) }

  func tags() -> Response {
    Response(.object([("models", .array(server.models.all.map(Self.entry)))]))
  }

  func show(_ request: Request) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: 1 << 20))
    let name = try fields.text("model") ?? fields.text("name")
    let served = try server.models.model(named: name.map(Self.withoutTag))
    let transformer = served.model.transformer
    let family = transformer.configuration.modelType
    return Response(
      .object([
        ("modelfile", .string("")), ("parameters", .string("")),
        ("template", .string(served.model.tokenizer.configuration.chatTemplate ?? "")),
        ("details", Self.details(served)),
        (
          "model_info",
          .object([
            ("general.architecture", .string(family)),
            ("general.basename", .string(served.name)),
            ("\(family).context_length", .integer(served.model.contextLength)),
            ("\(family).block_count", .integer(transformer.layerCount)),
            ("\(family).embedding_length", .integer(transformer.hiddenSize)),
          ])
        ),
        ("capabilities", .array([.string("completion"), .string("tools")])),
      ]))
  }

  func chat(_ request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model").map(Self.withoutTag))
    let options = try fields.object("options") ?? RequestFields(.object([]))
    var call = try ChatCall(common: options, model: model)
    call.attention = try fields.attention(model.engine.options.session.attention)
    guard let messages = try fields.list("messages") else {
      throw fields.missing("messages", "a list of messages")
    }
    call.messages = try ChatMessages.read(messages)
    call.tools = try Tools(fields)
    call.stopStrings = try options.stopStrings()
    if let count = try options.int("num_predict", in: -2...Int(Int32.max)), count >= 0 {
      call.maximumTokens = count
    }
    if let isThinking = try fields.bool("think") {
      call.variables["enable_thinking"] = .bool(isThinking)
    }
    if let format = fields["format"] {
      call.format = .json(schema: format.text == "json" ? nil : format)
    }
    let (answer, parser) = try await server.submit(call, to: model)
    let format = OllamaFormat(model: model, start: ContinuousClock.now)
    let response = AnswerResponse(
      answer: answer, parser: parser, heartbeatSeconds: server.options.heartbeatSeconds,
      context: context)
    return try fields.bool("stream") ?? true
      ? response.streamed(format) : try await response.whole(format)
  }

  /// Ollama's names have a tag behind a colon.
  private static func withoutTag(_ name: String) -> String {
    name.hasSuffix(":latest") ? String(name.dropLast(7)) : name
  }

  private static func entry(_ model: ServedModel) -> JSONValue {
    .object([
      ("name", .string(model.name)), ("model", .string(model.name)),
      ("modified_at", .string(Clock.text(of: model.created))), ("size", .integer(0)),
      ("digest", .string(model.model.fingerprint)), ("details", details(model)),
    ])
  }

  private static func details(_ model: ServedModel) -> JSONValue {
    let family = model.model.transformer.configuration.modelType
    return .object([
      ("parent_model", .string("")), ("format", .string("safetensors")),
      ("family", .string(family)), ("families", .array([.string(family)])),
      ("parameter_size", .string("")), ("quantization_level", .string("")),
    ])
  }
}

/// The words of Ollama's chat: one JSON object a line.
struct OllamaFormat: AnswerFormat {
  let model: ServedModel
  let start: ContinuousClock.Instant
  private var calls: [CollectedOutput.ToolCall] = []

  init(model: ServedModel, start: ContinuousClock.Instant) {
    self.model = model
    self.start = start
  }

  // An empty piece: the format knows no comments.
  var heartbeat: String { line(message(content: "")) }
  var streamType: String { "application/x-ndjson" }

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress: return ""
    case .text(let text, _): return text.isEmpty ? "" : line(message(content: text))
    case .reasoning(let text): return line(message(content: "", thinking: text))
    case .toolCall(_, let id, let name):
      calls.append(CollectedOutput.ToolCall(id: id, name: name, arguments: ""))
      return ""
    case .toolArguments(let index, let text):
      if calls.indices.contains(index) { calls[index].arguments += text }
      return ""
    case .end(let end):
      let called = calls.isEmpty ? "" : line(message(content: "", calls: calls))
      return called + line(message(content: ""), end)
    }
  }

  mutating func text(of error: APIError) -> String {
    JSONValue.object([("error", .string(error.message))]).serialized(.compact) + "\n"
  }

  func json(_ output: CollectedOutput) -> JSONValue {
    object(
      message(content: output.text, thinking: output.reasoning, calls: output.toolCalls),
      output.end)
  }

  private func message(
    content: String, thinking: String = "", calls: [CollectedOutput.ToolCall] = []
  ) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("role", .string("assistant")), ("content", .string(content)),
    ]
    if !thinking.isEmpty { members.append(("thinking", .string(thinking))) }
    if !calls.isEmpty {
      members.append(
        (
          "tool_calls",
          .array(
            calls.map { call in
              let arguments = try? JSONValue(parsing: Array(call.arguments.utf8))
              return .object([
                (
                  "function",
                  .object([
                    ("name", .string(call.name)), ("arguments", arguments ?? .object([])),
                  ])
                )
              ])
            })
        ))
    }
    return .object(members)
  }

  private func line(_ message: JSONValue, _ end: OutputEnd? = nil) -> String {
    object(message, end).serialized(.compact) + "\n"
  }

  private func object(_ message: JSONValue, _ end: OutputEnd?) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("model", .string(model.name)), ("created_at", .string(Clock.text(of: Clock.now))),
      ("message", message), ("done", .boolean(end != nil)),
    ]
    if let end {
      let summary = end.summary
      func nanoseconds(_ seconds: Double) -> JSONValue { .integer(Int(seconds * 1e9)) }
      members += [
        ("done_reason", .string(end.reason == .length ? "length" : "stop")),
        ("total_duration", nanoseconds((ContinuousClock.now - start).inSeconds)),
        ("load_duration", .integer(0)),
        ("prompt_eval_count", .integer(summary.promptTokens)),
        ("prompt_eval_duration", nanoseconds(summary.prefillSeconds)),
        ("eval_count", .integer(summary.completionTokens)),
        ("eval_duration", nanoseconds(summary.decodeSeconds)),
      ]
    }
    return .object(members)
  }
}
