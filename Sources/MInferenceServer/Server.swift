public import CoreMetrics
import HTTPTypes
import Hummingbird
import HummingbirdTLS
public import Logging
import MInference
import NIOCore
import NIOSSL
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An HTTP server that answers on one or more models, in the words of OpenAI's API and of others.
///
///     let server = Server(models: [ServedModel(engine: engine, created: now)])
///     try await server.run()
///
/// It runs until SIGINT or SIGTERM: then its engines take no more requests, let those that run end for
/// ``ServerOptions/stopSeconds``, end the others, and put on disk what is to be kept; connections are closed then.
public struct Server: Sendable {
  private let state: ServerState
  private let logger: Logger
  private let metrics: any MetricsFactory

  /// - Parameter metrics: Where requests are recorded; nil: they are shown by `/metrics`. What the engines
  ///   do is shown there in any case, see ``Engine/currentMetrics``.
  public init(
    models: [ServedModel], options: ServerOptions = ServerOptions(),
    logger: Logger = Logger(label: "minference"), metrics: (any MetricsFactory)? = nil
  ) {
    let registry = metrics == nil ? PrometheusRegistry() : nil
    state = ServerState(
      models: ServedModels(all: models), options: options, registry: registry)
    self.logger = logger
    self.metrics = metrics ?? registry ?? NOOPMetricsHandler.instance
  }

  /// Serves until the process is asked to stop, or the task is cancelled.
  ///
  /// - Parameters:
  ///   - stopsOnSignals: Whether SIGINT and SIGTERM stop it; the process's own handlers are replaced.
  ///   - listening: Told the port once connections are taken.
  /// - Throws: ``ServerError`` where it cannot start.
  public func run(
    stopsOnSignals: Bool = true, listening: @escaping @Sendable (Int) -> Void = { _ in }
  ) async throws {
    let options = state.options
    let application = Application(
      router: router(),
      server: try options.tls.map { try .tls(.http1(), tlsConfiguration: Self.tls($0)) }
        ?? .http1(),
      configuration: ApplicationConfiguration(
        address: .hostname(options.host, port: options.port), serverName: "minference"),
      onServerRunning: { channel in listening(channel.localAddress?.port ?? options.port) },
      logger: logger)
    // The last service stops first: connections end with their answers, and answers with the engines.
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          application,
          EngineShutdown(engines: state.models.all.map(\.engine), seconds: options.stopSeconds),
        ],
        gracefulShutdownSignals: stopsOnSignals ? [.sigterm, .sigint] : [], logger: logger))
    do {
      try await group.run()
    } catch let error as IOError {
      throw ServerError.cannotListen(
        host: options.host, port: options.port, reason: String(cString: strerror(error.errnoCode)))
    }
  }

  private static func tls(_ files: ServerOptions.TLSFiles) throws -> TLSConfiguration {
    let chain: [NIOSSLCertificate]
    do {
      chain = try NIOSSLCertificate.fromPEMFile(files.certificates)
    } catch {
      throw ServerError.certificate(file: files.certificates, reason: "\(error)")
    }
    do {
      return TLSConfiguration.makeServerConfiguration(
        certificateChain: chain.map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: files.key, format: .pem)))
    } catch {
      throw ServerError.key(file: files.key, reason: "\(error)")
    }
  }

  /// Paths that clients ask for, and how.
  private static let methods: [String: HTTPRequest.Method] = {
    var methods: [String: HTTPRequest.Method] = [:]
    for path in [
      "/", "/health", "/v1/health", "/v1/models", "/models", "/metrics", "/openapi.json",
      "/api/version", "/api/tags",
    ] {
      methods[path] = .get
    }
    for path in [
      "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
      "/v1/messages/count_tokens", "/v1/attention", "/tokenize", "/detokenize", "/apply-template",
      "/api/show",
      "/api/chat",
    ] {
      methods[path] = .post
    }
    return methods
  }()

  private func router() -> Router<ServerContext> {
    let router = Router(context: ServerContext.self)
    let options = state.options
    router.add(middleware: RequestMetrics(routes: Self.methods.keys, factory: metrics))
    router.add(middleware: ErrorsAndLog(methods: Self.methods))
    router.add(middleware: CrossOrigin(origins: options.origins))
    router.add(middleware: Authentication(options.keys))
    router.add(middleware: ConcurrencyLimit(options.concurrentRequests))
    addStatus(to: router)
    addAnswers(to: router)
    // Browsers ask before they call; `CrossOrigin` answers where calls are allowed.
    router.on("**", method: .options) { _, _ in Response(status: .noContent) }
    return router
  }
}

extension Server {
  /// What is asked about the server and its models.
  private func addStatus(to router: Router<ServerContext>) {
    let status = Status(server: state)
    let metrics = Metrics(server: state)
    let ollama = Ollama(server: state)
    for path: RouterPath in ["health", "v1/health"] {
      router.get(path) { _, _ in status.health() }
    }
    for path: RouterPath in ["v1/models", "models"] {
      router.get(path) { _, _ in status.models() }
    }
    router.get("v1/models/**") { _, context in
      try status.model(named: context.parameters.getCatchAll().joined(separator: "/"))
    }
    router.get("metrics") { _, _ in metrics.respond() }
    router.get("api/version") { _, _ in ollama.version() }
    router.get("api/tags") { _, _ in ollama.tags() }
    router.post("api/show") { request, _ in try await ollama.show(request) }
    router.get("/") { _, _ in Page.file(named: "index.html") ?? Response(status: .notFound) }
    for name in ["page.css", "page.js", "attention.js", "openapi.json"] {
      router.get(RouterPath(name)) { _, _ in
        Page.file(named: name) ?? Response(status: .notFound)
      }
    }
  }

  /// What models answer.
  private func addAnswers(to router: Router<ServerContext>) {
    let chat = ChatCompletions(server: state)
    let completions = Completions(server: state)
    let responses = Responses(server: state)
    let messages = Messages(server: state)
    let attention = Attention(server: state)
    let tokens = Tokens(server: state)
    let ollama = Ollama(server: state)
    for path: RouterPath in ["v1/chat/completions", "chat/completions"] {
      router.post(path) { try await chat.respond(to: $0, context: $1) }
    }
    for path: RouterPath in ["v1/completions", "completions"] {
      router.post(path) { try await completions.respond(to: $0, context: $1) }
    }
    for path: RouterPath in ["v1/responses", "responses"] {
      router.post(path) { try await responses.respond(to: $0, context: $1) }
    }
    router.post("v1/messages") { try await messages.respond(to: $0, context: $1) }
    router.post("v1/messages/count_tokens") { request, _ in
      try await messages.countTokens(request)
    }
    router.post("v1/attention") { try await attention.respond(to: $0, context: $1) }
    router.post("api/chat") { try await ollama.chat($0, context: $1) }
    router.post("tokenize") { request, _ in try await tokens.tokenize(request) }
    router.post("detokenize") { request, _ in try await tokens.detokenize(request) }
    router.post("apply-template") { request, _ in try await tokens.applyTemplate(request) }
  }
}

/// Stops the engines when the server is asked to stop.
private struct EngineShutdown: Service {
  let engines: [Engine]
  let seconds: Double

  /// Seconds for which prefixes are written at least, also where answers get none.
  private static let leastWritingSeconds = 10.0

  func run() async throws {
    try? await gracefulShutdown()
    await withTaskGroup { group in
      for engine in engines {
        group.addTask {
          await engine.stop(
            within: seconds, writingFor: max(seconds, Self.leastWritingSeconds))
        }
      }
    }
  }
}
