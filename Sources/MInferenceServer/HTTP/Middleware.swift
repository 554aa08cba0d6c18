import HTTPTypes
import Hummingbird
import Logging
import Synchronization

/// Turns errors into responses, and writes one line about each request: never what was asked or
/// answered.
struct ErrorsAndLog: RouterMiddleware {
  typealias Context = ServerContext

  /// The method that each path of a fixed name takes.
  let methods: [String: HTTPRequest.Method]

  func handle(
    _ request: Request, context: ServerContext,
    next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    let path = request.uri.path
    var response: Response
    do {
      response = try await next(request, context)
    } catch let error as APIError {
      response = error.response(path: path)
    } catch let error as HTTPError {
      response = refusal(of: request, error).response(path: path)
      if let method = methods[path] { response.headers[.allow] = method.rawValue }
    } catch {
      response = APIError(error).response(path: path)
    }
    let elapsed = ContinuousClock.now - start
    context.logger.info(
      "request",
      metadata: [
        "method": "\(request.method.rawValue)", "path": "\(path.prefix(200))",
        "status": "\(response.status.code)",
        "head_ms":
          "\(elapsed.components.seconds * 1000 + elapsed.components.attoseconds / 1_000_000_000_000_000)",
      ])
    return response
  }

  /// What an error of the framework means to a client.
  private func refusal(of request: Request, _ error: HTTPError) -> APIError {
    let (path, method) = (request.uri.path, request.method.rawValue)
    guard error.status == .notFound else {
      return APIError(
        error.status, "invalid_request_error", error.body ?? error.status.reasonPhrase)
    }
    if let known = methods[path] {
      return APIError(
        .methodNotAllowed, "invalid_request_error",
        "\(path) takes \(known.rawValue), not \(method)", code: "method_not_allowed")
    }
    return APIError(
      .notFound, "invalid_request_error", "there is no \(method) \(path) here",
      code: "not_found")
  }
}

/// Asks for a key, by `Authorization: Bearer` or `x-api-key`. Health and the page need none.
struct Authentication: RouterMiddleware {
  typealias Context = ServerContext

  let keys: [[UInt8]]
  private static let open: Set<String> = [
    "/health", "/v1/health", "/", "/page.css", "/page.js", "/attention.js",
  ]

  init(_ keys: [String]) { self.keys = keys.map { Array($0.utf8) } }

  func handle(
    _ request: Request, context: ServerContext,
    next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    guard !keys.isEmpty, request.method != .options, !Self.open.contains(request.uri.path),
      !accepts(request)
    else { return try await next(request, context) }
    throw APIError(
      .unauthorized, "authentication_error",
      "the key is missing or wrong; send Authorization: Bearer KEY", code: "invalid_api_key")
  }

  private func accepts(_ request: Request) -> Bool {
    let bearer = request.headers[.authorization].flatMap { value -> String? in
      value.lowercased().hasPrefix("bearer ") ? String(value.dropFirst(7)) : nil
    }
    let given = bearer ?? HTTPField.Name("x-api-key").flatMap { request.headers[$0] }
    guard let given else { return false }
    let bytes = Array(given.utf8)
    // Every key is compared, and each to its end: the time says nothing.
    return keys.reduce(false) { Self.areEqual($1, bytes) || $0 }
  }

  /// In a time that depends on the lengths alone.
  static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    var difference = left.count ^ right.count
    for index in 0..<max(left.count, right.count) {
      let a = index < left.count ? left[index] : 0
      let b = index < right.count ? right[index] : 0
      difference |= Int(a ^ b)
    }
    return difference == 0
  }
}

/// Lets pages of other origins call.
struct CrossOrigin: RouterMiddleware {
  typealias Context = ServerContext

  let origins: [String]

  func handle(
    _ request: Request, context: ServerContext,
    next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    guard let origin = request.headers[.origin],
      origins.contains("*") || origins.contains(origin)
    else { return try await next(request, context) }
    var response: Response
    if request.method == .options {
      response = Response(status: .noContent)
      response.headers[.accessControlAllowMethods] = "GET, POST, OPTIONS"
      response.headers[.accessControlAllowHeaders] =
        request.headers[.accessControlRequestHeaders] ?? "content-type, authorization"
      response.headers[.accessControlMaxAge] = "86400"
    } else {
      response = try await next(request, context)
    }
    response.headers[.accessControlAllowOrigin] = origin
    response.headers[.vary] = "Origin"
    return response
  }
}

/// Counts requests from their head to the end of their answer, and refuses what is too much.
struct ConcurrencyLimit: RouterMiddleware {
  typealias Context = ServerContext

  let limit: Int
  private let count = Count()

  init(_ limit: Int) { self.limit = limit }

  private final class Count: Sendable {
    let value = Atomic<Int>(0)
  }

  /// One request's share of the count, until nobody has it any more.
  private final class Ticket: Sendable {
    let count: Count

    init(_ count: Count) { self.count = count }

    deinit { count.value.subtract(1, ordering: .relaxed) }
  }

  func handle(
    _ request: Request, context: ServerContext,
    next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    // Monitoring must see a server that is full.
    guard request.method == .post else { return try await next(request, context) }
    let value = count.value.add(1, ordering: .relaxed).newValue
    let ticket = Ticket(count)
    guard value <= limit else {
      throw APIError(
        .tooManyRequests, "rate_limit_error",
        "\(limit) requests are being served; try again later", code: "too_many_requests",
        retryAfter: 5)
    }
    var response = try await next(request, context)
    let body = response.body
    response.body = ResponseBody(contentLength: body.contentLength) { [ticket] writer in
      try await body.write(writer)
      withExtendedLifetime(ticket) {}
    }
    return response
  }
}
