import HTTPTypes
import Hummingbird
import JSON
import NIOCore

extension Response {
  /// A value as JSON.
  init(_ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) {
    var headers = headers
    headers[.contentType] = "application/json"
    self.init(
      status: status, headers: headers,
      body: ResponseBody(byteBuffer: ByteBuffer(string: value.serialized(.compact))))
  }

  /// A text of some media type.
  init(text: String, type: String) {
    self.init(
      status: .ok, headers: [.contentType: type],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}

extension APIError {
  /// - Parameter path: Says in whose words.
  func response(path: String) -> Response {
    var headers: HTTPFields = [:]
    if let retryAfter { headers[.retryAfter] = "\(retryAfter)" }
    if status == .unauthorized { headers[.wwwAuthenticate] = "Bearer" }
    return Response(
      path.hasPrefix("/v1/messages") ? messagesJSON : json, status: status, headers: headers)
  }
}

extension Request {
  /// The body as JSON.
  ///
  /// - Parameter limit: Bytes that it may have.
  func json(limit: Int) async throws -> JSONValue {
    if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit {
      throw APIError.tooLarge(limit: limit)
    }
    var bytes: [UInt8] = []
    for try await buffer in body {
      guard bytes.count + buffer.readableBytes <= limit else {
        throw APIError.tooLarge(limit: limit)
      }
      bytes += buffer.readableBytesView
    }
    do {
      return try JSONValue(parsing: bytes)
    } catch {
      throw APIError.invalid("the body is not JSON: byte \(error.offset): \(error.problem)")
    }
  }
}

extension APIError {
  fileprivate static func tooLarge(limit: Int) -> APIError {
    APIError(
      .contentTooLarge, "invalid_request_error",
      "the body is larger than \(limit) bytes; send less, or start the server with a larger limit")
  }
}
