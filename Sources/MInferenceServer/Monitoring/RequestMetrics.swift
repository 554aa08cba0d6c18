import CoreMetrics
import HTTPTypes
import Hummingbird
import Synchronization

/// Records requests by swift-metrics, as OpenTelemetry names them: how many are under way, and how long each took
/// from its head to the end of its answer, by route, method and status.
///
/// Routes and methods that the server does not know are `other`, so that clients cannot invent series.
struct RequestMetrics: RouterMiddleware {
  typealias Context = ServerContext

  private struct Key: Hashable {
    let route: String
    let method: String
    let status: Int
  }

  private let routes: Set<String>
  private let factory: any MetricsFactory
  private let active: Meter
  private let timers = Timers()

  private final class Timers: Sendable {
    let all = Mutex<[Key: CoreMetrics.Timer]>([:])
  }

  /// - Parameters:
  ///   - routes: Paths that have series of their own.
  ///   - factory: Records.
  init(routes: some Sequence<String>, factory: any MetricsFactory) {
    self.routes = Set(routes)
    self.factory = factory
    active = Meter(label: "http.server.active_requests", dimensions: [], factory: factory)
  }

  func handle(
    _ request: Request, context: ServerContext,
    next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    active.increment()
    let ticket = Ticket(active)
    var response = try await next(request, context)
    let timer = timer(
      of: Key(
        route: routes.contains(request.uri.path) ? request.uri.path : "other",
        method: [.get, .post, .options].contains(request.method)
          ? request.method.rawValue : "other", status: response.status.code))
    let body = response.body
    response.body = ResponseBody(contentLength: body.contentLength) { writer in
      defer {
        timer.recordNanoseconds(Self.nanoseconds(since: start))
        withExtendedLifetime(ticket) {}
      }
      try await body.write(writer)
    }
    return response
  }

  private static func nanoseconds(since start: ContinuousClock.Instant) -> Int64 {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }

  /// One request among those under way, until nobody has it any more.
  private final class Ticket: Sendable {
    private let active: Meter

    init(_ active: Meter) { self.active = active }

    deinit { active.decrement() }
  }

  private func timer(of key: Key) -> CoreMetrics.Timer {
    timers.all.withLock { timers in
      if let timer = timers[key] { return timer }
      let timer = CoreMetrics.Timer(
        label: "http.server.request.duration",
        dimensions: [
          ("http_route", key.route), ("http_request_method", key.method),
          ("http_response_status_code", "\(key.status)"),
        ], factory: factory)
      timers[key] = timer
      return timer
    }
  }
}
