import ArgumentParser
import Logging
import MInferenceServer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where a server listens, whom it lets in, and how much it takes.
struct ServerArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The address to listen on; 0.0.0.0 for all of this machine's.", valueName: "host"))
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("The port to listen on; 0 takes a free one.", valueName: "port"))
  var port = 8080

  @Option(
    help: ArgumentHelp(
      "A key of which requests have to name one; may be given more than once. "
        + "MINFERENCE_API_KEY gives one too.", valueName: "key"))
  var apiKey: [String] = []

  @Option(
    help: ArgumentHelp("A file with keys, one a line.", valueName: "file"), completion: .file())
  var apiKeyFile: String?

  @Option(
    help: ArgumentHelp(
      "An origin whose pages may call, or * for all; may be given more than once.",
      valueName: "origin"))
  var cors: [String] = []

  @Option(
    help: ArgumentHelp("A PEM file with the certificate chain.", valueName: "file"),
    completion: .file())
  var tlsCertificate: String?

  @Option(
    help: ArgumentHelp("A PEM file with the certificate's private key.", valueName: "file"),
    completion: .file())
  var tlsKey: String?

  @Option(
    help: ArgumentHelp("Bytes of a request's body at most.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxBody = Size(value: 64 << 20)

  @Option(
    help: ArgumentHelp(
      "Tokens of a prompt at most; what the model's context allows if not given.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxPrompt: Size?

  @Option(
    help: ArgumentHelp("Requests that are served or wait at once.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxRequests = Size(value: 512)

  @Option(
    help: ArgumentHelp(
      "Seconds between two signs of life while a prompt is read.", valueName: "s"),
    transform: { try Number.parsed($0, in: 0.01...3600, allowed: "0.01 to 3600 seconds") })
  var heartbeat = 10.0

  @Option(
    help: ArgumentHelp(
      "Seconds that running answers have to end when the server stops; writing to --cache-dir has as "
        + "many more, and at least 10.", valueName: "s"),
    transform: { try Number.parsed($0, in: 0...86400, allowed: "0 to 86400 seconds") })
  var stopWithin = 30.0

  @Option(
    help: ArgumentHelp(
      "What is logged: \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "level"),
    completion: .list(Logger.Level.allCases.map(\.rawValue)),
    transform: { text in
      guard let level = Logger.Level(rawValue: text) else {
        throw ValidationError("\"\(text)\" is not known; give info, warning or error")
      }
      return level
    })
  var logLevel = Logger.Level.info

  func validate() throws {
    guard (0...65535).contains(port) else {
      throw ValidationError("--port: \(port) is not a port; give 0 to 65535")
    }
    guard (tlsCertificate == nil) == (tlsKey == nil) else {
      throw ValidationError("--tls-certificate and --tls-key belong together; give both")
    }
    guard apiKey.allSatisfy({ !$0.isEmpty }) else {
      throw ValidationError("--api-key: the key is empty; give at least one character")
    }
  }

  /// The keys of the flags, the file and the environment.
  func keys() throws -> [String] {
    var keys = apiKey
    if let apiKeyFile {
      let lines = try InputText.read(path: apiKeyFile).split(whereSeparator: \.isNewline)
      let found = lines.map { $0.filter { !$0.isWhitespace } }.filter { !$0.isEmpty }
      guard !found.isEmpty else {
        throw CommandFailure(.inputData, "\(apiKeyFile): holds no key; write one a line")
      }
      keys += found
    }
    if let given = getenv("MINFERENCE_API_KEY"), given.pointee != 0 {
      keys.append(String(cString: given))
    }
    return keys
  }

  func options(keys: [String]) -> ServerOptions {
    var tls: ServerOptions.TLSFiles?
    if let tlsCertificate, let tlsKey {
      tls = ServerOptions.TLSFiles(certificates: tlsCertificate, key: tlsKey)
    }
    return ServerOptions(
      host: host, port: port, keys: keys, origins: cors, tls: tls, bodyBytes: maxBody.value,
      promptTokens: maxPrompt?.value, concurrentRequests: maxRequests.value,
      heartbeatSeconds: heartbeat, stopSeconds: stopWithin)
  }
}
