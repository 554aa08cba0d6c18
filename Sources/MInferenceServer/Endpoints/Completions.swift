import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /v1/completions: a prompt as it stands.
///
/// Source: https://platform.openai.com/docs/api-reference/completions.
struct Completions: Sendable {
  let server: ServerState

  func respond(to request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let isStream = try fields.bool("stream") ?? false
    var call = try ChatCall(common: fields, model: model)
    call.format = try ResponseFormat(fields)
    call.stopStrings = try fields.stopStrings()
    call.maximumTokens = try fields.int("max_tokens", in: 0...Int(Int32.max))
    call.logProbabilities = try fields.int("logprobs", in: 0...20)
    for key in ["echo", "suffix"] {
      if let value = fields[key], value != .boolean(false) {
        throw APIError.invalid("\(key) is not supported", parameter: key)
      }
    }
    if let best = try fields.int("best_of", in: 1...Int.max), best != 1 {
      throw APIError.invalid("best_of is \(best): one answer is made", parameter: "best_of")
    }
    let prompt = try Self.prompt(fields)
    let settings = call
    let limit = server.options.promptTokens
    let answerRequest = try await WorkerThread.run {
      try Self.request(prompt, settings, model: model, limit: limit)
    }
    let answer = try model.engine.submit(answerRequest)
    let format = CompletionFormat(
      id: Identifier.make("cmpl"), created: Clock.now, model: model,
      attention: call.attention ?? model.engine.options.session.attention,
      includesUsage: try fields.object("stream_options")?.bool("include_usage") ?? false,
      returnsProgress: try fields.bool("return_progress") ?? false,
      hasLogProbabilities: call.logProbabilities != nil)
    let response = AnswerResponse(
      answer: answer, parser: OutputParser.plain,
      heartbeatSeconds: server.options.heartbeatSeconds, context: context)
    return isStream ? response.streamed(format) : try await response.whole(format)
  }

  /// A string, a list of ids, or a list that holds one of these.
  static func prompt(_ fields: RequestFields) throws(APIError) -> Prompt {
    guard let value = fields["prompt"] else { throw fields.missing("prompt", "a text") }
    if let text = value.text { return .raw(text) }
    guard var elements = value.elements, !elements.isEmpty else {
      throw fields.wrong("prompt", value, "a string or a list of token ids")
    }
    if elements.count == 1 {
      if let text = elements[0].text { return .raw(text) }
      if let inner = elements[0].elements { elements = inner }
    }
    var ids: [Int32] = []
    for element in elements {
      guard let id = element.int, let small = Int32(exactly: id) else {
        throw .invalid(
          "prompt holds \(element.kind): one prompt a request is answered, a text or a list of ids",
          parameter: "prompt")
      }
      ids.append(small)
    }
    return .tokens(ids)
  }

  private static func request(
    _ prompt: Prompt, _ call: ChatCall, model: ServedModel, limit: Int?
  ) throws -> AnswerRequest {
    let ids = try model.model.encode(prompt)
    try ChatCall.check(ids, limit: limit)
    var request = AnswerRequest(
      prompt: ids, attention: call.attention, monitor: call.monitor, sampling: call.sampling,
      maximumTokens: call.maximumTokens, stopStrings: call.stopStrings,
      logProbabilities: call.logProbabilities)
    request.ignoresEndOfText = call.ignoresEndOfText
    request.constraint = try call.format.constraint(
      for: model, tools: Tools(),
      maximumTokens: min(
        call.maximumTokens ?? model.engine.options.answerTokens,
        model.model.contextLength - ids.count))
    return request
  }
}

extension OutputParser {
  /// Takes the text as it comes.
  static var plain: OutputParser {
    OutputParser(
      beginsInReasoning: false, readsToolCalls: false, readsReasoning: false,
      makeID: { Identifier.make("call") })
  }
}

/// The words of completions.
struct CompletionFormat: AnswerFormat {
  let id: String
  let created: Int
  let model: ServedModel
  let attention: AttentionOptions
  let includesUsage: Bool
  let returnsProgress: Bool
  let hasLogProbabilities: Bool
  /// Characters of the answer before the next piece.
  private var offset = 0

  init(
    id: String, created: Int, model: ServedModel, attention: AttentionOptions,
    includesUsage: Bool, returnsProgress: Bool, hasLogProbabilities: Bool
  ) {
    self.id = id
    self.created = created
    self.model = model
    self.attention = attention
    self.includesUsage = includesUsage
    self.returnsProgress = returnsProgress
    self.hasLogProbabilities = hasLogProbabilities
  }

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress(let progress):
      guard returnsProgress else { return "" }
      return ServerSentEvent.data(
        .object(
          head + [
            ("choices", .array([])), ("prompt_progress", AnswerFigures.json(progress)),
          ]))
    case .text(let text, let tokens):
      defer { offset += text.unicodeScalars.count }
      return ServerSentEvent.data(
        .object(head + [("choices", choices(text, tokens, offset: offset, finish: nil))]))
    case .reasoning, .toolCall, .toolArguments: return ""
    case .end(let end):
      let figures = AnswerFigures(end: end)
      let last = ServerSentEvent.data(
        .object(
          head + [
            ("choices", choices("", [], offset: offset, finish: end)),
            ("timings", figures.timings), ("attention", figures.attention(attention)),
          ]))
      guard includesUsage else { return last }
      return last
        + ServerSentEvent.data(
          .object(head + [("choices", .array([])), ("usage", figures.usage)]))
    }
  }

  mutating func text(of error: APIError) -> String { ServerSentEvent.data(error.json) }

  mutating func finish() -> String { "data: [DONE]\n\n" }

  func json(_ output: CollectedOutput) -> JSONValue {
    var members =
      head + [("choices", choices(output.text, output.tokens, offset: 0, finish: output.end))]
    if let end = output.end {
      let figures = AnswerFigures(end: end)
      members += [
        ("usage", figures.usage), ("timings", figures.timings),
        ("attention", figures.attention(attention)),
      ]
    }
    return .object(members)
  }

  private var head: [(String, JSONValue)] {
    [
      ("id", .string(id)), ("object", .string("text_completion")), ("created", .integer(created)),
      ("model", .string(model.name)),
      ("system_fingerprint", .string("fp_" + model.model.fingerprint)),
    ]
  }

  private func choices(
    _ text: String, _ tokens: [AnswerToken], offset: Int, finish: OutputEnd?
  ) -> JSONValue {
    .array([
      .object([
        ("index", .integer(0)), ("text", .string(text)),
        ("logprobs", logProbabilities(tokens, offset: offset)),
        (
          "finish_reason",
          finish.map { .string($0.reason == .length ? "length" : "stop") } ?? .null
        ),
      ])
    ])
  }

  /// Four lists of one length, as the older interface has it.
  private func logProbabilities(_ tokens: [AnswerToken], offset: Int) -> JSONValue {
    guard hasLogProbabilities, !tokens.isEmpty else { return .null }
    var offset = offset
    var texts: [JSONValue] = []
    var values: [JSONValue] = []
    var likeliest: [JSONValue] = []
    var offsets: [JSONValue] = []
    for token in tokens {
      let text = spelled(token.id)
      texts.append(.string(text))
      values.append(.number(Double(token.logProbability?.value ?? 0)))
      likeliest.append(
        .object(
          (token.logProbability?.likeliest ?? []).map {
            (spelled($0.id), .number(Double($0.value)))
          }))
      offsets.append(.integer(offset))
      offset += text.unicodeScalars.count
    }
    return .object([
      ("tokens", .array(texts)), ("token_logprobs", .array(values)),
      ("top_logprobs", .array(likeliest)), ("text_offset", .array(offsets)),
    ])
  }

  private func spelled(_ id: Int32) -> String {
    model.model.tokenizer.decode([id], skipSpecialTokens: false)
  }
}
