import Compute
import JSON
import SparseAttention
import Synchronization
import Transformers

/// A stage in another process, which does what this object asks it.
final class RemoteStage: StageRunner {
  let layers: Range<Int>
  let name: String
  let outletName: String?
  let notices: [String] = []
  private let client: RankClient
  /// Told of the tensors that this stage sends on; nil: the last stage, which answers with them.
  private let following: RankClient?
  /// Where the last stage's answer goes.
  private let head: Transformer
  private let numbers = Atomic<Int>(0)

  init(
    _ client: RankClient, layers: Range<Int>, device: String, outletName: String?,
    following: RankClient?, head: Transformer
  ) {
    self.client = client
    self.layers = layers
    name = "rank \(client.rank), \(client.host), \(device), layers \(layers)"
    self.outletName = outletName
    self.following = following
    self.head = head
  }

  private var shape: AttentionShape { head.attentionShape(layer: layers.lowerBound) }

  func plan(_ request: CacheRequest) throws -> KeyValueOptions? {
    let reply = try client.call(Message("plan", request.fields))
    return KeyValueOptions(fields: reply)
  }

  func makeCache(_ request: CacheRequest) throws -> KeyValueCache {
    let number = numbers.add(1, ordering: .relaxed).newValue
    let reply = try client.call(
      Message("cache", request.fields + [("cache", .integer(number))]))
    let kept = KeyValueOptions(fields: reply)
    let store = RemoteKeyValueStore(
      client: client, number: number, layers: layers.count, capacity: request.capacity,
      type: kept?.type ?? head.backend.activationType, place: kept?.place ?? .device,
      byteCount: try reply.int("bytes"))
    return KeyValueCache(
      store: store, layers: layers, shape: shape, sequenceLength: request.sequenceLength)
  }

  func makeReading(
    _ request: ReadingRequest, cache: KeyValueCache, stage: Int
  ) throws -> any StageReading {
    let number = numbers.add(1, ordering: .relaxed).newValue
    let progress = request.progress
    client.setProgress(of: number) { _ = try? progress($0) }
    let reply = try client.call(
      Message(
        "begin",
        request.fields + [
          ("reading", .integer(number)), ("cache", .integer(try Self.number(of: cache))),
          ("count", .integer(cache.count)),
        ]))
    guard let chunks = reply["chunks"]?.elements?.compactMap(\.int), chunks.count > 1 else {
      throw PipelineError.malformedMessage(detail: "a reading without chunks")
    }
    return RemoteReading(
      client: client, number: number, cache: cache,
      chunks: zip(chunks, chunks.dropFirst()).map { $0..<$1 },
      layers: layers, carry: carry, model: head)
  }

  func canPassTogether(_ caches: [KeyValueCache]) -> Bool { head.canDecodeTogether(caches) }

  func pass(
    tokens ids: [Int32], _ input: Carried?, caches: [KeyValueCache]
  ) throws -> Carried {
    let counts = caches.map(\.count)
    let named = try zip(caches, counts).map { cache, count in
      JSONValue.array([.integer(try Self.number(of: cache)), .integer(count)])
    }
    let reply = try client.call(
      Message(
        "tokens", [("caches", .array(named)), ("ticket", .integer(try ticket(of: input)))]))
    for (cache, count) in zip(caches, counts) { cache.fill(to: count + 1) }
    return try carry(reply)
  }

  func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer {
    let number = numbers.add(1, ordering: .relaxed).newValue
    var fields: [(String, JSONValue)] = [
      ("transfer", .integer(number)), ("cache", .integer(try Self.number(of: cache))),
      ("layer", .integer(layer)), ("count", .integer(count)),
    ]
    if case .restoring = purpose, let length = cache.sequenceLength {
      fields.append(("sequence_length", .integer(length)))
      fields.append(("kept", .integer(cache.count)))
    }
    _ = try client.call(Message("transfer", fields))
    return RemoteKeyValueTransfer(
      client, number: number, rowCount: shape.keyValueHeads * shape.headDim)
  }

  func append(_ sources: [CachedRows], to target: KeyValueCache) throws {
    let rows = try sources.map { source in
      JSONValue.array([
        .integer(try Self.number(of: source.cache)), .integer(source.rows.lowerBound),
        .integer(source.rows.upperBound),
      ])
    }
    let count = target.count
    _ = try client.call(
      Message(
        "append",
        [
          ("cache", .integer(try Self.number(of: target))), ("count", .integer(count)),
          ("rows", .array(rows)),
        ]))
    target.fill(to: count + sources.reduce(0) { $0 + $1.rows.count })
  }

  func discard(_ carried: Carried) {
    guard case .ticket(let ticket) = carried else { return }
    try? client.post(Message("discard", [("ticket", .integer(ticket))]))
  }

  static func number(of cache: KeyValueCache) throws -> Int {
    guard let store = cache.store as? RemoteKeyValueStore else {
      throw TransformerError.foreignCache(detail: "it is of this process")
    }
    return store.number
  }

  /// What a stage answers with: that a tensor is under way, of which the next stage is told, or numbers.
  private func carry(_ reply: Message) throws -> Carried {
    let rows = try reply.int("rows")
    if let following {
      let ticket = try reply.int("ticket")
      try following.post(.expect(ticket: ticket, rows: rows))
      return .ticket(ticket)
    }
    let backend = head.backend
    let hidden = try backend.makeTensor(
      backend.activationType, [rows, head.hiddenSize], purpose: "hidden states of \(rows) rows")
    try backend.write(HostNumbers.floats(of: reply.bytes), to: hidden)
    return .tensor(hidden)
  }
}

func ticket(of input: Carried?) throws -> Int {
  guard case .ticket(let ticket)? = input else {
    throw TransformerError.hiddenStates(problem: "did not leave this process")
  }
  return ticket
}

extension Message {
  /// A tensor of so many rows of hidden states comes next.
  static func expect(ticket: Int, rows: Int) -> Message {
    Message("expect", [("ticket", .integer(ticket)), ("rows", .integer(rows))])
  }
}

/// One prompt in a stage of another process.
final class RemoteReading: StageReading {
  let chunks: [Range<Int>]
  private(set) var report: PrefillReport
  private let client: RankClient
  private let number: Int
  private let cache: KeyValueCache
  private let layers: Range<Int>
  private let carry: (Message) throws -> Carried

  init(
    client: RankClient, number: Int, cache: KeyValueCache, chunks: [Range<Int>],
    layers: Range<Int>, carry: @escaping (Message) throws -> Carried, model: Transformer
  ) {
    self.client = client
    self.number = number
    self.cache = cache
    self.chunks = chunks
    self.layers = layers
    self.carry = carry
    report = PrefillReport(
      layers: model.layerCount, heads: model.attentionShape(layer: 0).queryHeads)
  }

  func pass(
    chunk: Int, _ input: Carried?, isStopped: () -> Bool, sends: (_ byteCount: Int) -> Void
  ) throws -> Carried {
    var hasStopped = false
    let reply = try client.call(
      Message(
        "pass",
        [
          ("reading", .integer(number)), ("ticket", .integer(try ticket(of: input))),
          ("chunk", .integer(chunk)),
        ])
    ) {
      guard !hasStopped, isStopped() else { return }
      hasStopped = true
      try? client.post(Message("stop", [("reading", .integer(number))]))
    }
    cache.fill(to: chunks[chunk].upperBound)
    return try carry(reply)
  }

  func finish() throws {
    let reply = try client.call(Message("finish", [("reading", .integer(number))]))
    try report.fill(from: reply, layers: layers)
  }

  func end(forgettingFrom chunk: Int?) {
    client.setProgress(of: number, nil)
    var fields: [(String, JSONValue)] = [("reading", .integer(number))]
    if let chunk { fields.append(("forget", .integer(chunk))) }
    // A process that is lost has nothing to end.
    _ = try? client.call(Message("close", fields))
  }
}

/// Stands for keys and values that another process keeps.
final class RemoteKeyValueStore: KeyValueStore {
  let number: Int
  let layers: Int
  let capacity: Int
  let type: DataType
  let place: KeyValueOptions.Place
  let byteCount: Int
  private let client: RankClient

  init(
    client: RankClient, number: Int, layers: Int, capacity: Int, type: DataType,
    place: KeyValueOptions.Place, byteCount: Int
  ) {
    self.client = client
    self.number = number
    self.layers = layers
    self.capacity = capacity
    self.type = type
    self.place = place
    self.byteCount = byteCount
  }

  deinit { try? client.post(Message("drop", [("cache", .integer(number))])) }

  func open(
    layer: Int, kept: Int, count: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    throw PipelineError.oneProcess(what: "looking at keys and values")
  }

  func close(layer: Int, kept: Int, count: Int) {}
}
