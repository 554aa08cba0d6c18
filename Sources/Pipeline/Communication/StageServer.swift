import CSystemCalls
import Compute
import JSON
import Synchronization
public import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A process that holds one stage and does what process 0 asks it.
public final class StageServer {
  private let connection: Connection
  private let listener: Listener
  private let backend: any Backend
  private let device: String
  private let onEnd: @Sendable () -> Void
  private let inbox = Monitor(Inbox())
  /// Where hidden states arrive, once the links are made.
  private let inlet = Mutex<(any TensorInlet)?>(nil)
  private var stage: LocalStage?
  private var caches: [Int: KeyValueCache] = [:]
  private var transfers = OpenTransfers()
  private var readings: [Int: (reading: LocalReading, wantsAllRows: Bool)] = [:]

  /// What came and is still to be done.
  private struct Inbox {
    var messages: [Message] = []
    /// Readings that need not go on.
    var stopped: Set<Int> = []
    var failure: (any Error)?
    /// Process 0 has said that this is the end.
    var hasEnded = false
  }

  /// Connects to process 0.
  ///
  /// - Parameters:
  ///   - member: This process's device.
  ///   - seconds: How long process 0 may take to listen.
  ///   - onEnd: Called by ``serve(load:injection:)`` when process 0 says that this is the end, before it
  ///     returns: a process may end here, without taking down what its device holds.
  ///   - onLoss: Called once, on a thread of its own, when process 0 is lost; ``serve(load:injection:)``
  ///     throws the same error as soon as it is not at work.
  /// - Throws: ``PipelineError``.
  public init(
    _ rank: ProcessRank, member: LayerPipeline.Member, seconds: Double = 300,
    onEnd: @escaping @Sendable () -> Void = {},
    onLoss: @escaping @Sendable (PipelineError) -> Void = { _ in }
  ) throws {
    backend = member.backend
    device = member.name
    self.onEnd = onEnd
    listener = try Listener(port: 0)
    connection = try Connection(host: rank.address, port: rank.port, seconds: seconds)
    // Process 0 speaks once all are there.
    connection.waitForever()
    var name = [CChar](repeating: 0, count: 256)
    _ = csystem_host_name(&name, name.count)
    let host = String(
      decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var hello = Message(
      "hello",
      [
        ("version", .integer(ProcessGroup.version)), ("rank", .integer(rank.rank)),
        ("size", .integer(rank.size)), ("host", .string("\(host), process \(getpid())")),
        ("port", .integer(listener.port)), ("device", .string(device)),
        ("links", .boolean(backend is any ProcessLinkingBackend)),
      ])
    if let free = try backend.availableMemory()?.device {
      hello.fields.append(("free", .integer(free)))
    }
    try connection.send(hello)
    let (connection, inbox) = (connection, inbox)
    let takeIn: @Sendable (Message) throws -> Void = { [inlet = Reference(self)] message in
      _ = try inlet.value?.takeIn(message)
    }
    try BackgroundThread.start {
      do {
        while true { try takeIn(try connection.receive()) }
      } catch {
        let loss = PipelineError.lostRank(
          0, of: rank.size, host: rank.address, reason: "\(error)")
        let hasEnded = inbox.withLock { inbox in
          inbox.failure = inbox.failure ?? loss
          return inbox.hasEnded
        }
        if !hasEnded { onLoss(loss) }
      }
    }
  }

  /// A weak reference that a thread may hold.
  private final class Reference: @unchecked Sendable {
    // Unchecked: weak references are read atomically; what is called through this one says itself that
    // any thread may.
    weak var value: StageServer?
    init(_ value: StageServer) { self.value = value }
  }

  /// What needs no thread of the stage is done at once; the rest waits. Called by the receiving thread.
  private func takeIn(_ message: Message) throws {
    switch message.kind {
    case "ping":
      // Now silence means something.
      connection.expectNoise()
      try connection.send(Message("pong"))
    case "stop":
      let reading = try message.int("reading")
      inbox.withLock { _ = $0.stopped.insert(reading) }
    case "expect":
      let inlet = inlet.withLock { $0 }
      let (ticket, rows) = (try message.int("ticket"), try message.int("rows"))
      let width = hiddenSize.load(ordering: .relaxed)
      do {
        try inlet?.expect(ticket: ticket, type: backend.activationType, shape: [rows, width])
      } catch {
        inbox.withLock { $0.failure = $0.failure ?? error }
      }
    default:
      inbox.withLock { inbox in
        inbox.hasEnded = inbox.hasEnded || message.kind == "end"
        inbox.messages.append(message)
      }
    }
  }

  private let hiddenSize = Atomic<Int>(0)

  /// Does what process 0 asks, until it says that this is the end.
  ///
  /// - Parameters:
  ///   - load: Makes the part of the model that this process is to hold.
  ///   - injection: Makes what stands in for queries and keys from the text that describes it.
  /// - Throws: ``PipelineError/lostRank(_:of:host:reason:)`` when process 0 is lost.
  package func serve(
    load: (DecoderPart) throws -> Transformer,
    injection: (String, Transformer) throws -> (any QueryKeyInjection)?
  ) throws {
    while true {
      let message = try inbox.wait { inbox -> Result<Message, any Error>? in
        guard inbox.messages.isEmpty else { return .success(inbox.messages.removeFirst()) }
        return inbox.failure.map { .failure($0) }
      }.get()
      if message.kind == "end" {
        onEnd()
        connection.close()
        return
      }
      var reply = Message("reply")
      do {
        reply = try answer(message, load: load, injection: injection)
      } catch is CancellationError {
        reply.fields.append(("cancelled", .boolean(true)))
      } catch {
        reply.fields.append(("error", .string("\(error)")))
      }
      guard let call = message["call"] else { continue }
      reply.fields.append(("call", call))
      do { try connection.send(reply) } catch { continue }
    }
  }

  /// Serves a checkpoint.
  public func serve(load: (DecoderPart) throws -> Transformer) throws {
    try serve(load: load, injection: { _, _ in nil })
  }

  private func answer(
    _ message: Message, load: (DecoderPart) throws -> Transformer,
    injection: (String, Transformer) throws -> (any QueryKeyInjection)?
  ) throws -> Message {
    switch message.kind {
    case "measure":
      let part = try load(
        LayerPipeline.measuredPart(
          of: message.int("layers"), isLast: message.flag("last"), hasOutput: false))
      return Message("reply", try LayerTiming(part, rows: message.int("rows")).fields)
    case "load":
      let layers = try message.int("first")..<message.int("end")
      let part = try load(DecoderPart(layers: layers, hasEmbedding: false, hasOutput: false))
      hiddenSize.store(part.hiddenSize, ordering: .relaxed)
      stage = LocalStage(part, name: "\(device), layers \(layers)", outlet: nil)
      return Message("reply")
    case "connect":
      try connect(message)
      return Message("reply")
    case "plan":
      let plan = try requireStage().plan(CacheRequest(message))
      return Message("reply", plan?.fields ?? [])
    case "cache":
      let cache = try requireStage().makeCache(CacheRequest(message))
      caches[try message.int("cache")] = cache
      return Message(
        "reply",
        KeyValueOptions(type: cache.type, place: cache.place).fields + [
          ("bytes", .integer(cache.byteCount))
        ])
    case "discard":
      _ = try requireStage().receive(.ticket(message.int("ticket")))
      return Message("reply")
    case "drop":
      caches[try message.int("cache")] = nil
      return Message("reply")
    case "append":
      let target = try cache(of: message)
      let sources = try (message["rows"]?.elements ?? []).map { entry in
        let fields = entry.elements?.compactMap(\.int) ?? []
        guard fields.count == 3, fields[1] <= fields[2], let source = caches[fields[0]] else {
          throw TransformerError.foreignCache(detail: "this process has none of that number")
        }
        return CachedRows(source, rows: fields[1]..<fields[2])
      }
      try requireStage().transformer.append(sources, to: target)
      return Message("reply")
    case "transfer":
      guard let cache = caches[try message.int("cache")] else {
        throw TransformerError.foreignCache(detail: "this process has none of that number")
      }
      try transfers.open(message, of: requireStage().transformer, cache)
      return Message("reply")
    case "begin": return try begin(message, injection: injection)
    case "pass":
      let number = try message.int("reading")
      guard let (reading, wantsAllRows) = readings[number] else { throw CancellationError() }
      let inbox = inbox
      let hidden = try reading.pass(.ticket(message.int("ticket"))) {
        inbox.withLock { $0.stopped.contains(number) || $0.failure != nil }
      }
      return try sent(hidden, all: wantsAllRows)
    case "finish":
      guard let reading = readings[try message.int("reading")]?.reading else {
        throw CancellationError()
      }
      try reading.finish()
      return Message("reply", reading.report.fields(layers: try requireStage().layers))
    case "close":
      let number = try message.int("reading")
      readings.removeValue(forKey: number)?.reading.end(forgettingFrom: message["forget"]?.int)
      inbox.withLock { _ = $0.stopped.remove(number) }
      return Message("reply")
    case "tokens":
      let stage = try requireStage()
      let hidden = try stage.receive(.ticket(message.int("ticket")))
      let caches = try (message["caches"]?.elements ?? []).map { entry in
        let fields = entry.elements?.compactMap(\.int) ?? []
        guard fields.count == 2 else {
          throw PipelineError.malformedMessage(detail: "a cache without its length")
        }
        return try cache(fields[0], cutTo: fields[1])
      }
      guard caches.count == hidden.rows else {
        throw PipelineError.malformedMessage(
          detail: "\(hidden.rows) tokens of \(caches.count) sequences")
      }
      try stage.pass(tokens: hidden, caches: caches)
      return try sent(hidden, all: true)
    default:
      if let reply = try transfers.answer(message) { return reply }
      throw PipelineError.malformedMessage(detail: "\"\(message.kind)\" is not known")
    }
  }

  private func requireStage() throws -> LocalStage {
    guard let stage else { throw TransformerError.missingPart(what: "any layers yet") }
    return stage
  }

  /// The cache that a message names, cut to the positions that it says.
  private func cache(of message: Message) throws -> KeyValueCache {
    try cache(message.int("cache"), cutTo: message.int("count"))
  }

  private func cache(_ number: Int, cutTo count: Int) throws -> KeyValueCache {
    guard let cache = caches[number] else {
      throw TransformerError.foreignCache(detail: "this process has none of that number")
    }
    guard count <= cache.count else {
      throw TransformerError.foreignCache(
        detail: "it has \(cache.count) positions where \(count) are expected")
    }
    cache.truncate(to: count)
    return cache
  }

  private func begin(
    _ message: Message, injection: (String, Transformer) throws -> (any QueryKeyInjection)?
  ) throws -> Message {
    let stage = try requireStage()
    let number = try message.int("reading")
    let cache = try cache(of: message)
    var options = try PrefillOptions(message)
    options.injection = try options.injectionRecipe.flatMap {
      try injection($0, stage.transformer)
    }
    let progress = ProgressMessages(connection, reading: number)
    options.progress = { progress.tell($0.fraction) }
    let run = try PrefillRun(
      stage.transformer, .hiddenStates(rows: message.int("rows")), cache: cache,
      options: options, wantsAllRows: message.flag("all_rows"))
    readings[number] = (LocalReading(run, of: stage, cache: cache), message.flag("all_rows"))
    let cuts = [run.chunks.first?.lowerBound ?? 0] + run.chunks.map(\.upperBound)
    return Message("reply", [("chunks", .array(cuts.map { .integer($0) }))])
  }

  /// Sends hidden states on, or answers with them where this is the last stage.
  private func sent(_ hidden: Tensor, all: Bool) throws -> Message {
    switch try requireStage().send(hidden) {
    case .ticket(let ticket):
      return Message("reply", [("ticket", .integer(ticket)), ("rows", .integer(hidden.rows))])
    case .tensor(let hidden):
      let wanted = all ? hidden : hidden.slice(rows: hidden.rows - 1..<hidden.rows)
      return Message(
        "reply", [("rows", .integer(wanted.rows))],
        bytes: HostNumbers.bytes(of: try backend.read(wanted)))
    }
  }

  private func connect(_ message: Message) throws {
    let isHost = message.flag("host_link")
    let part = try requireStage()
    var outlet: (any TensorOutlet)?
    func identifier(_ name: String) -> [UInt8]? {
      message[name]?.text.map(ProcessLinks.bytes)
    }
    // Both ends of a link wait for one another: first the one before, then the one behind.
    let arriving = try ProcessLinks.makeInlet(
      identifier("in") ?? [], isHost: isHost, backend: backend, listener: listener)
    inlet.withLock { $0 = arriving }
    if let identifier = identifier("out") {
      outlet = try ProcessLinks.makeOutlet(
        identifier, isHost: isHost, backend: backend, address: message["address"]?.text ?? "",
        port: message.int("port"))
    }
    stage = LocalStage(
      part.transformer, name: part.name,
      outlet: outlet.map { .process($0, announce: { _, _ in }) }, inlet: arriving)
  }
}

/// Tells process 0 how far a reading has come, a few times a second.
private final class ProgressMessages: Sendable {
  private let connection: Connection
  private let reading: Int
  private let last = Monitor<ContinuousClock.Instant?>(nil)

  init(_ connection: Connection, reading: Int) {
    self.connection = connection
    self.reading = reading
  }

  func tell(_ fraction: Double) {
    let now = ContinuousClock.now
    let isDue = last.withLock { last in
      if let time = last, now - time < .milliseconds(50) { return false }
      last = now
      return true
    }
    guard isDue else { return }
    // A loss is found by the thread that receives.
    try? connection.send(
      Message("progress", [("reading", .integer(reading)), ("fraction", .number(fraction))]))
  }
}
