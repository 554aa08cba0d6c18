import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /v1/attention: what one head of one layer attends to while it reads a prompt, and what its index
/// computes of it. Ours.
struct Attention: Sendable {
  let server: ServerState

  func respond(to request: Request, context: ServerContext) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let isStream = try fields.bool("stream") ?? false
    let head = try Self.head(fields)
    let encode = try Self.prompt(fields, model: model)
    let call = try ChatCall(common: fields, model: model)
    let limit = server.options.promptTokens
    let ids = try await WorkerThread.run { try encode(limit) }
    var answerRequest = AnswerRequest(
      prompt: ids, attention: call.attention, monitor: call.monitor, maximumTokens: 0)
    answerRequest.observedHead = head
    let answer = try model.engine.submit(answerRequest)
    let format = AttentionFormat(
      model: model, created: Clock.now,
      attention: call.attention ?? model.engine.options.session.attention)
    let response = AnswerResponse(
      answer: answer, parser: OutputParser.plain,
      heartbeatSeconds: server.options.heartbeatSeconds, context: context)
    return isStream ? response.streamed(format) : try await response.whole(format)
  }

  private static func head(_ fields: RequestFields) throws(APIError) -> ObservedHead {
    guard let layer = try fields.int("layer", in: 0...Int(Int32.max)) else {
      throw fields.missing("layer", "a number from 0")
    }
    guard let head = try fields.int("head", in: 0...Int(Int32.max)) else {
      throw fields.missing("head", "a number from 0")
    }
    let observed = ObservedHead(layer: layer, head: head)
    guard let cells = try fields.int("cells", in: 1...ObservedHead.mostCells) else {
      return observed
    }
    return ObservedHead(layer: layer, head: head, cells: cells)
  }

  /// What makes the ids of `messages` or of `prompt`, of at most so many.
  private static func prompt(
    _ fields: RequestFields, model: ServedModel
  ) throws(APIError) -> @Sendable (_ limit: Int?) throws -> [Int32] {
    if fields["messages"] != nil {
      let call = try ChatCompletions.call(fields, model: model)
      return { try call.encode(for: model, limit: $0) }
    }
    guard fields["prompt"] != nil else {
      throw fields.missing("messages", "a list of messages, or prompt")
    }
    let prompt = try Completions.prompt(fields)
    return { limit in
      let ids = try model.model.encode(prompt)
      try ChatCall.check(ids, limit: limit)
      return ids
    }
  }
}

/// The words of pictures. A stream has the progress of the reading, then the picture.
struct AttentionFormat: AnswerFormat {
  let model: ServedModel
  let created: Int
  let attention: AttentionOptions

  mutating func text(of piece: OutputPiece) -> String {
    switch piece {
    case .progress(let progress):
      ServerSentEvent.data(
        .object([
          ("object", .string("attention.progress")),
          ("prompt_progress", AnswerFigures.json(progress)),
        ]))
    case .end(let end): ServerSentEvent.data(json(end.summary))
    case .text, .reasoning, .toolCall, .toolArguments: ""
    }
  }

  mutating func text(of error: APIError) -> String { ServerSentEvent.data(error.json) }

  mutating func finish() -> String { "data: [DONE]\n\n" }

  func json(_ output: CollectedOutput) -> JSONValue {
    output.end.map { json($0.summary) } ?? .null
  }

  private func json(_ summary: AnswerSummary) -> JSONValue {
    guard let seen = summary.observation else { return .null }
    let cells = seen.cells
    var members: [(String, JSONValue)] = [
      ("object", .string("attention.picture")), ("created", .integer(created)),
      ("model", .string(model.name)), ("layer", .integer(seen.layer)),
      ("head", .integer(seen.head)), ("tokens", .integer(seen.tokens)),
      ("mode", .string(attention.mode.rawValue)), ("pattern", .string(seen.pattern)),
      ("sliding_window", seen.slidingWindow.map { .integer($0) } ?? .null),
      ("density", .number(seen.density)), ("mass_kept", .number(Self.rounded(seen.keptMass))),
      ("dense_reasons", .array(seen.denseReasons.map { .string($0) })),
    ]
    if seen.layer == model.model.transformer.layerCount - 1 {
      members.append(
        (
          "note",
          .string(
            "Of the last layer an answer needs the prompt's last row alone, which is computed densely."
          )
        ))
    }
    members += [
      ("cells", .integer(cells.count)), ("mass", Self.json(cells.mass)),
      ("kept", Self.json(cells.keptMass)), ("computed", Self.json(cells.computedPairs)),
      ("sink", .array(cells.sinkMass.map(Self.json))),
      ("prompt_ms", .number(Self.rounded(summary.prefillSeconds * 1000))),
    ]
    return .object(members)
  }

  private static func json(_ rows: [[Float]]) -> JSONValue {
    .array(rows.map { .array($0.map(json)) })
  }

  /// To a millionth: less is none in a picture. Zeros, which are many, are short.
  private static func json(_ value: Float) -> JSONValue {
    let rounded = rounded(Double(value))
    return rounded == 0 ? .integer(0) : .number(rounded)
  }

  private static func rounded(_ value: Double) -> Double {
    (value * 1_000_000).rounded() / 1_000_000
  }
}
