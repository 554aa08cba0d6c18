import Logging
import MInference
import MInferenceServer
import TemporaryCheckpoints

/// A server in this process on a free port, with a model of random weights.
struct TestServer {
  let directory: TemporaryDirectory
  let model: LanguageModel
  let engine: Engine
  let client: TestClient
  private let task: Task<Void, any Error>

  static func start(
    engine engineOptions: EngineOptions = EngineOptions(),
    _ options: ServerOptions = ServerOptions(port: 0, stopSeconds: 0)
  ) async throws -> TestServer {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory)
    let model = try LanguageModel(
      LoadOptions(directory: directory.path("model"), device: .cpu, threads: 1))
    let engine = try Engine(model: model, options: engineOptions)
    let server = Server(
      models: [ServedModel(name: "tiny", engine: engine, created: 0)], options: options,
      logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
    let (ports, continuation) = AsyncStream<Int>.makeStream()
    let task = Task {
      defer { continuation.finish() }
      try await server.run(stopsOnSignals: false) { continuation.yield($0) }
    }
    var iterator = ports.makeAsyncIterator()
    guard let port = await iterator.next() else {
      try await task.value
      throw TestClient.Failure()
    }
    return TestServer(
      directory: directory, model: model, engine: engine, client: TestClient(port: port),
      task: task)
  }

  func stop() async {
    task.cancel()
    _ = await task.result
    await engine.stop()
  }
}
