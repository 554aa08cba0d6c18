import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /v1/chat/completions.
///
/// Source: https://platform.openai.com/docs/api-reference/chat, with llama.cpp's `return_progress`,
/// `timings` and `chat_template_kwargs`.
struct ChatCompletions: Sendable {
  let server: ServerState

  func respond(to request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let call = try Self.call(fields, model: model)
    let isStream = try fields.bool("stream") ?? false
    let (answer, parser) = try await server.submit(call, to: model)
    let format = ChatCompletionFormat(
      id: Identifier.make("chatcmpl"), created: Clock.now, model: model,
      attention: call.attention ?? model.engine.options.session.attention,
      includesUsage: try fields.object("stream_options")?.bool("include_usage") ?? false,
      returnsProgress: try fields.bool("return_progress") ?? false,
      hasLogProbabilities: call.logProbabilities != nil)
    let response = AnswerResponse(
      answer: answer, parser: parser, heartbeatSeconds: server.options.heartbeatSeconds,
      context: context)
    return isStream ? response.streamed(format) : try await response.whole(format)
  }

  static func call(_ fields: RequestFields, model: ServedModel) throws(APIError) -> ChatCall {
    var call = try ChatCall(common: fields, model: model)
    guard let messages = try fields.list("messages") else {
      throw fields.missing("messages", "a list of messages")
    }
    call.messages = try ChatMessages.read(messages)
    call.tools = try Tools(fields)
    call.format = try ResponseFormat(fields)
    call.stopStrings = try fields.stopStrings()
    call.maximumTokens = try fields.int(
      firstOf: ["max_completion_tokens", "max_tokens"], in: 1...Int(Int32.max))
    let likeliest = try fields.int("top_logprobs", in: 0...20)
    if try fields.bool("logprobs") == true { call.logProbabilities = likeliest ?? 0 }
    return call
  }
}

/// The words of chat completions.
struct ChatCompletionFormat: AnswerFormat {
  let id: String
  let created: Int
  let model: ServedModel
  let attention: AttentionOptions
  let includesUsage: Bool
  let returnsProgress: Bool
  let hasLogProbabilities: Bool

  mutating func begin() -> String {
    chunk(delta: [("role", .string("assistant")), ("content", .string(""))])
  }

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress(let progress):
      guard returnsProgress else { return "" }
      return chunk(delta: [], more: [("prompt_progress", AnswerFigures.json(progress))])
    case .text(let text, let tokens):
      return chunk(delta: [("content", .string(text))], tokens: tokens)
    case .reasoning(let text):
      return chunk(delta: [("reasoning_content", .string(text))])
    case .toolCall(let index, let id, let name):
      return chunk(delta: [
        (
          "tool_calls",
          .array([
            .object([
              ("index", .integer(index)), ("id", .string(id)), ("type", .string("function")),
              ("function", .object([("name", .string(name)), ("arguments", .string(""))])),
            ])
          ])
        )
      ])
    case .toolArguments(let index, let text):
      return chunk(delta: [
        (
          "tool_calls",
          .array([
            .object([
              ("index", .integer(index)), ("function", .object([("arguments", .string(text))])),
            ])
          ])
        )
      ])
    case .end(let end):
      let figures = AnswerFigures(end: end)
      let last = chunk(
        delta: [], finish: end.reason,
        more: [
          ("timings", figures.timings), ("attention", figures.attention(attention)),
        ])
      guard includesUsage else { return last }
      return last
        + ServerSentEvent.data(
          .object(
            head("chat.completion.chunk") + [
              ("choices", .array([])), ("usage", figures.usage), ("timings", figures.timings),
            ]))
    }
  }

  mutating func text(of error: APIError) -> String { ServerSentEvent.data(error.json) }

  mutating func finish() -> String { "data: [DONE]\n\n" }

  func json(_ output: CollectedOutput) -> JSONValue {
    var message: [(String, JSONValue)] = [
      ("role", .string("assistant")),
      (
        "content",
        output.text.isEmpty && !output.toolCalls.isEmpty ? .null : .string(output.text)
      ),
    ]
    if !output.reasoning.isEmpty {
      message.append(("reasoning_content", .string(output.reasoning)))
    }
    if !output.toolCalls.isEmpty {
      message.append(("tool_calls", .array(output.toolCalls.map(\.json))))
    }
    var members =
      head("chat.completion") + [
        (
          "choices",
          .array([
            .object([
              ("index", .integer(0)), ("message", .object(message)),
              ("logprobs", logProbabilities(output.tokens)),
              ("finish_reason", output.end.map { .string($0.reason.rawValue) } ?? .null),
            ])
          ])
        )
      ]
    if let end = output.end {
      let figures = AnswerFigures(end: end)
      members += [
        ("usage", figures.usage), ("timings", figures.timings),
        ("attention", figures.attention(attention)),
      ]
    }
    return .object(members)
  }

  private func head(_ object: String) -> [(String, JSONValue)] {
    [
      ("id", .string(id)), ("object", .string(object)), ("created", .integer(created)),
      ("model", .string(model.name)),
      ("system_fingerprint", .string("fp_" + model.model.fingerprint)),
    ]
  }

  private func chunk(
    delta: [(String, JSONValue)], tokens: [AnswerToken] = [], finish: OutputEnd.Reason? = nil,
    more: [(String, JSONValue)] = []
  ) -> String {
    ServerSentEvent.data(
      .object(
        head("chat.completion.chunk") + [
          (
            "choices",
            .array([
              .object([
                ("index", .integer(0)), ("delta", .object(delta)),
                ("logprobs", logProbabilities(tokens)),
                ("finish_reason", finish.map { .string($0.rawValue) } ?? .null),
              ])
            ])
          )
        ] + more))
  }

  private func logProbabilities(_ tokens: [AnswerToken]) -> JSONValue {
    guard hasLogProbabilities, !tokens.isEmpty else { return .null }
    return .object([("content", .array(tokens.map(entry)))])
  }

  private func entry(_ token: AnswerToken) -> JSONValue {
    func described(_ id: Int32, _ value: Float) -> [(String, JSONValue)] {
      let bytes = model.model.tokenizer.decodeBytes([id], skipSpecialTokens: false)
      return [
        ("token", .string(String(decoding: bytes, as: UTF8.self))),
        ("logprob", .number(Double(value))),
        ("bytes", .array(bytes.map { .integer(Int($0)) })),
      ]
    }
    let probability = token.logProbability
    return .object(
      described(token.id, probability?.value ?? 0) + [
        (
          "top_logprobs",
          .array((probability?.likeliest ?? []).map { .object(described($0.id, $0.value)) })
        )
      ])
  }
}

extension CollectedOutput.ToolCall {
  /// As OpenAI has it.
  var json: JSONValue {
    .object([
      ("id", .string(id)), ("type", .string("function")),
      (
        "function",
        .object([("name", .string(name)), ("arguments", .string(arguments))])
      ),
    ])
  }
}
