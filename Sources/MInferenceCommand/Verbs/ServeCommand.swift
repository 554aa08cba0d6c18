import ArgumentParser
import Logging
import MInference
import MInferenceServer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `minference serve`: an HTTP server that clients of OpenAI's API can use.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serves models over HTTP: OpenAI's API, and a page for long documents.",
    discussion: """
      Without --model the model that came with the package is served. It stops on SIGINT and SIGTERM, \
      once the answers that run have ended.

      Example: minference serve --model DIR --port 8080
      """)

  @Option(
    help: ArgumentHelp(
      "A checkpoint's directory, a GGUF file, or ORG/NAME in Hugging Face's cache; may be given more "
        + "than once.", valueName: "model"), completion: .file(extensions: ["gguf"]))
  var model: [String] = []

  @OptionGroup var device: DeviceArguments
  @OptionGroup var attention: AttentionArguments
  @OptionGroup var network: ServerArguments
  @OptionGroup var sharing: EngineArguments

  @Option(
    help: ArgumentHelp(
      "A Jinja file in place of the checkpoints' chat templates.", valueName: "file"),
    completion: .file())
  var chatTemplate: String?

  mutating func run() async throws {
    let keys = try network.keys()
    let directories = try model.isEmpty ? [ModelDirectory.builtIn()] : model
    guard directories.count == 1 || device.devices?.isRanks != true else {
      throw ValidationError(
        "--devices ranks: the processes share one model; give --model once")
    }
    var models: [ServedModel] = []
    var thread: ComputeThread?
    for directory in directories {
      let loaded = try await attention.load(
        directory: directory, device: device, chatTemplate: chatTemplate)
      attention.notices(for: loaded).forEach(StandardError.note)
      let shared = try thread ?? ComputeThread()
      thread = shared
      let engine = try Engine(
        model: loaded,
        options: try sharing.options(
          session: attention.sessionOptions(), model: loaded, models: directories.count),
        thread: shared)
      models.append(ServedModel(engine: engine, created: time(nil)))
    }
    var logger = Logger(label: "minference") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = network.logLevel
    let names = models.map(\.name).joined(separator: ", ")
    let scheme = network.tlsCertificate == nil ? "http" : "https"
    let host = network.host
    try await Server(models: models, options: network.options(keys: keys), logger: logger).run {
      StandardError.note("serving \(names) on \(scheme)://\(host):\($0)")
    }
  }
}
