import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What all endpoints share.
struct ServerState: Sendable {
  let models: ServedModels
  let options: ServerOptions
  /// What `/metrics` shows of what was recorded; nil: it goes elsewhere.
  let registry: PrometheusRegistry?

  /// Tokenizes a conversation away from the threads that serve connections, and hands it to its engine.
  func submit(_ call: ChatCall, to model: ServedModel) async throws -> (AnswerStream, OutputParser)
  {
    let limit = options.promptTokens
    let (request, parser) = try await WorkerThread.run {
      try call.request(for: model, limit: limit)
    }
    return (try model.engine.submit(request), parser)
  }
}

/// The time of day.
enum Clock {
  /// Seconds since 1970.
  static var now: Int { time(nil) }

  /// "2026-11-30T08:59:44Z".
  static func text(of seconds: Int) -> String {
    var seconds = time_t(seconds)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func padded(_ number: Int32, _ digits: Int = 2) -> String {
      let text = "\(number)"
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    return
      "\(padded(parts.tm_year + 1900, 4))-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday))T"
      + "\(padded(parts.tm_hour)):\(padded(parts.tm_min)):\(padded(parts.tm_sec))Z"
  }
}
