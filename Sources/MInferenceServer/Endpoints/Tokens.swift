import HTTPTypes
import Hummingbird
import JSON
import MInference

/// POST /tokenize, /detokenize, /apply-template, as llama.cpp has them; /tokenize answers in vLLM's words
/// too.
struct Tokens: Sendable {
  let server: ServerState

  func tokenize(_ request: Request) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let addsTemplate = try fields.bool("add_special") ?? fields.bool("add_special_tokens") ?? false
    let readsSpecial = try fields.bool("parse_special") ?? true
    let ids: [Int32]
    if fields["messages"] != nil {
      let call = try ChatCompletions.call(fields, model: model)
      ids = try await WorkerThread.run { try call.encode(for: model, limit: nil) }
    } else {
      guard let text = try fields.text("content") ?? fields.text("prompt") else {
        throw fields.missing("content", "a text")
      }
      ids = try await WorkerThread.run {
        model.model.tokenizer.encode(
          text, specialTokens: readsSpecial ? .recognise : .asText, addTemplate: addsTemplate)
      }
    }
    let tokens: [JSONValue]
    if try fields.bool("with_pieces") ?? false {
      tokens = ids.map { id in
        .object([
          ("id", .integer(Int(id))),
          ("piece", .string(model.model.tokenizer.decode([id], skipSpecialTokens: false))),
        ])
      }
    } else {
      tokens = ids.map { .integer(Int($0)) }
    }
    return Response(
      .object([
        ("tokens", .array(tokens)), ("count", .integer(ids.count)),
        ("max_model_len", .integer(model.model.contextLength)),
      ]))
  }

  func detokenize(_ request: Request) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    guard let tokens = try fields.list("tokens") else {
      throw fields.missing("tokens", "a list of token ids")
    }
    var ids: [Int32] = []
    for token in tokens {
      guard let id = token.int, let small = Int32(exactly: id), small >= 0,
        id < model.model.transformer.vocabularySize
      else {
        throw APIError.invalid(
          "tokens holds \(token.kind), which is no id of this model", parameter: "tokens")
      }
      ids.append(small)
    }
    let text = model.model.tokenizer.decode(ids, skipSpecialTokens: false)
    return Response(.object([("content", .string(text)), ("prompt", .string(text))]))
  }

  func applyTemplate(_ request: Request) async throws -> Response {
    let fields = try RequestFields(try await request.json(limit: server.options.bodyBytes))
    let model = try server.models.model(named: try fields.text("model"))
    let call = try ChatCompletions.call(fields, model: model)
    let (ids, text) = try await WorkerThread.run {
      (try call.encode(for: model, limit: nil), try call.text(for: model))
    }
    return Response(
      .object([
        ("prompt", .string(text)), ("tokens", .integer(ids.count)),
      ]))
  }
}
