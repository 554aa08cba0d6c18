import HTTPTypes
import Hummingbird
import JSON
import MInference

/// GET /health, /v1/models: what monitors and clients ask first.
struct Status: Sendable {
  let server: ServerState

  func health() -> Response {
    let engines = server.models.all.map(\.engine.currentMetrics)
    return Response(
      .object([
        ("status", .string("ok")),
        ("requests_running", .integer(engines.reduce(0) { $0 + $1.running })),
        ("requests_waiting", .integer(engines.reduce(0) { $0 + $1.waiting })),
      ]))
  }

  func models() -> Response {
    let models = server.models.all.map(\.json)
    // Codex reads `models`, everybody else `data`.
    return Response(
      .object([
        ("object", .string("list")), ("data", .array(models)), ("models", .array(models)),
      ]))
  }

  func model(named name: String) throws -> Response {
    guard let model = server.models.all.first(where: { $0.name == name }) else {
      throw APIError(
        .notFound, "invalid_request_error", "the model \"\(name.prefix(100))\" is not served here",
        code: "model_not_found")
    }
    return Response(model.json)
  }
}

extension ServedModel {
  /// As OpenAI lists a model, with what llama.cpp and vLLM add.
  var json: JSONValue {
    .object([
      ("id", .string(name)), ("object", .string("model")), ("created", .integer(created)),
      ("owned_by", .string("swift-minference")), ("name", .string(name)), ("slug", .string(name)),
      ("max_model_len", .integer(model.contextLength)),
      (
        "meta",
        .object([
          ("n_ctx_train", .integer(model.contextLength)),
          ("n_vocab", .integer(model.transformer.vocabularySize)),
          ("n_layer", .integer(model.transformer.layerCount)),
          ("n_head", .integer(model.transformer.attentionShape(layer: 0).queryHeads)),
          ("n_embd", .integer(model.transformer.hiddenSize)),
          ("device", .string(model.transformer.backend.name)),
          ("attention", .string(engine.options.session.attention.mode.rawValue)),
          (
            "chat_template", .boolean(model.hasChatTemplate)
          ),
        ])
      ),
    ])
  }
}
