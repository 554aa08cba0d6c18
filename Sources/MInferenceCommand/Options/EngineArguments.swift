import ArgumentParser
import MInference

/// How a server's requests share a device.
struct EngineArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("Prompts that are read or answered at once.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var parallel = Size(value: 16)

  @Option(
    help: ArgumentHelp("Requests that wait for their turn at most.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxQueue = Size(value: 256)

  @Option(
    help: ArgumentHelp("Seconds that a request waits at most.", valueName: "s"),
    transform: { try Number.parsed($0, in: 0...86400, allowed: "0 to 86400 seconds") })
  var queueTimeout = 600.0

  @Option(
    help: ArgumentHelp(
      "Tokens of an answer whose request names no number.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var maxTokens = Size(value: 4096)

  @Option(
    help: ArgumentHelp(
      "Milliseconds for which reading prompts may hold up running answers; 100 on a GPU, 500 on a "
        + "CPU if not given.", valueName: "ms"),
    transform: { try Number.parsed($0, in: 1...600_000, allowed: "1 to 600000 milliseconds") })
  var maxStall: Double?

  @Option(
    help: ArgumentHelp(
      "Bytes for keys and values of all sequences: 8G; 7 tenths of what is free if not given.",
      valueName: "n"),
    transform: { try Size.parsed($0) })
  var kvMemory: Size?

  @Option(
    help: ArgumentHelp(
      "A directory in which long prefixes are kept on disk, also over restarts.",
      valueName: "dir"), completion: .directory)
  var cacheDir: String?

  @Option(
    help: ArgumentHelp("Bytes that prefixes on disk may take: 64G.", valueName: "n"),
    transform: { try Size.parsed($0) })
  var cacheSize = Size(value: 16 << 30)

  /// - Parameter models: How many models share the device and the directory.
  func options(
    session: SessionOptions, model: LanguageModel, models: Int
  ) throws -> EngineOptions {
    var session = session
    session.chunk = session.chunk ?? EngineOptions.defaultChunk
    let isProcessor = model.transformer.backend.name == "cpu"
    return EngineOptions(
      session: session, memoryBytes: kvMemory.map { $0.value / models },
      runningSequences: parallel.value, queueLength: maxQueue.value,
      queueSeconds: queueTimeout,
      stallSeconds: maxStall.map { $0 / 1000 } ?? (isProcessor ? 0.5 : 0.1),
      answerTokens: maxTokens.value,
      disk: cacheDir.map {
        PrefixDirectory.Options(
          // Models do not share a directory: each has its lock.
          path: models > 1 ? "\($0)/\(model.fingerprint)" : $0, byteCount: cacheSize.value / models)
      }, notice: StandardError.note)
  }
}
