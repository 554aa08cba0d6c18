import HTTPTypes
import JSON
import MInference

/// An error as clients of the API see it.
struct APIError: Error, Sendable, Equatable {
  var status: HTTPResponse.Status
  /// The kind, in OpenAI's words.
  var type: String
  var code: String?
  var message: String
  /// The field of the request that is wrong.
  var parameter: String?
  /// Seconds after which trying again may help.
  var retryAfter: Int?

  init(
    _ status: HTTPResponse.Status, _ type: String, _ message: String, code: String? = nil,
    parameter: String? = nil, retryAfter: Int? = nil
  ) {
    self.status = status
    self.type = type
    self.code = code
    self.message = message
    self.parameter = parameter
    self.retryAfter = retryAfter
  }

  /// A request that cannot be served as it is.
  static func invalid(_ message: String, parameter: String? = nil, code: String? = nil) -> APIError
  {
    APIError(
      .badRequest, "invalid_request_error", message, code: code, parameter: parameter)
  }

  /// What an error of the library means to a client.
  init(_ error: any Error) {
    switch error {
    case let error as APIError: self = error
    case let error as EngineError: self.init(engine: error)
    case let error as LanguageModelError:
      if case .promptTooLong = error {
        self = .invalid("\(error)", parameter: "messages", code: "context_length_exceeded")
      } else {
        self = .invalid("\(error)")
      }
    case let error as ChatTemplateError:
      self = .invalid("\(error)", parameter: "messages")
    case let error as ObservedHeadError:
      self = .invalid("\(error)", parameter: error.parameter)
    case let error as PatternError: self = .invalid("\(error)", parameter: "attention")
    case let error as TransformerError:
      switch error {
      case .invalidOption, .idOutOfRange, .contextExceeded, .emptyPrompt:
        self = .invalid("\(error)")
      case .doesNotFit:
        self.init(.serviceUnavailable, "server_error", "\(error)", retryAfter: 10)
      default: self.init(.internalServerError, "server_error", "\(error)")
      }
    case is CancellationError:
      self.init(.serviceUnavailable, "server_error", "the request was given up")
    default: self.init(.internalServerError, "server_error", "\(error)")
    }
  }

  private init(engine error: EngineError) {
    switch error {
    case .queueFull:
      self.init(
        .tooManyRequests, "rate_limit_error", "\(error)", code: "queue_full", retryAfter: 5)
    case .queueTimeout:
      self.init(
        .serviceUnavailable, "server_error", "\(error)", code: "queue_timeout", retryAfter: 30)
    case .stopping:
      self.init(.serviceUnavailable, "server_error", "\(error)", code: "stopping", retryAfter: 30)
    case .doesNotFit:
      self = .invalid("\(error)", code: "context_length_exceeded")
    }
  }

  /// `{"error": {...}}`, as OpenAI has it.
  var json: JSONValue {
    .object([
      (
        "error",
        .object([
          ("message", .string(message)), ("type", .string(type)),
          ("param", parameter.map { .string($0) } ?? .null),
          ("code", code.map { .string($0) } ?? .null),
        ])
      )
    ])
  }

  /// `{"type": "error", "error": {...}}`, as Anthropic has it.
  var messagesJSON: JSONValue {
    let type: String
    switch status.code {
    case 401: type = "authentication_error"
    case 404: type = "not_found_error"
    case 413: type = "request_too_large"
    case 429: type = "rate_limit_error"
    case 503: type = "overloaded_error"
    case 400..<500: type = "invalid_request_error"
    default: type = "api_error"
    }
    return .object([
      ("type", .string("error")),
      ("error", .object([("type", .string(type)), ("message", .string(message))])),
    ])
  }
}

extension ObservedHeadError {
  /// The field of a request that is wrong.
  fileprivate var parameter: String {
    switch self {
    case .noLayer, .elsewhere: "layer"
    case .noHead: "head"
    case .cells: "cells"
    case .dualChunk: "messages"
    }
  }
}
