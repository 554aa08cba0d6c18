import Compute
import JSON
package import Transformers

/// The processes of one run, as process 0 sees them: it talks to the others, and they serve it.
public final class ProcessGroup: Sendable {
  public let rank: ProcessRank
  /// The processes from rank 1 on.
  let clients: [RankClient]
  /// What each of them said of itself.
  let members: [MemberDescription]
  /// What keeps those who wait in a link.
  private let links = Monitor<[any TensorOutlet]>([])

  /// What processes of one run have in common.
  static let version = 2

  /// A process and its device.
  struct MemberDescription: Sendable {
    var address: String
    /// Where the process before it connects.
    var port: Int
    var device: String
    /// nil: the device computes in the host's memory.
    var freeBytes: Int?
    /// Whether the device has links of its own between processes.
    var hasLinks: Bool
  }

  /// Waits until all processes have come.
  ///
  /// - Parameters:
  ///   - seconds: How long.
  ///   - onLoss: Called once when a process is lost; calls fail with the same error.
  /// - Throws: ``PipelineError``.
  public init(
    _ rank: ProcessRank, seconds: Double = 300,
    onLoss: @escaping @Sendable (PipelineError) -> Void = { _ in }
  ) throws {
    self.rank = rank
    let listener = try Listener(port: rank.port)
    var found: [Int: (Connection, String, Message)] = [:]
    let deadline = ContinuousClock.now + .seconds(seconds)
    while found.count < rank.size - 1 {
      guard ContinuousClock.now < deadline else {
        let missing = (1..<rank.size).filter { found[$0] == nil }.map(String.init)
        throw PipelineError.connection(
          to: "rank " + missing.joined(separator: ", "),
          reason: "no sign of it in \(Int(seconds)) s")
      }
      guard let (connection, address) = try listener.accept(milliseconds: 200) else { continue }
      // Whoever is none of this run's processes is left alone.
      guard let hello = try? connection.receive(), hello.kind == "hello" else { continue }
      let number = try hello.int("rank")
      guard try hello.int("version") == Self.version, try hello.int("size") == rank.size,
        (1..<rank.size).contains(number), found[number] == nil
      else {
        throw PipelineError.malformedMessage(
          detail: "rank \(number) of \(try hello.int("size")) from \(address)")
      }
      found[number] = (connection, address, hello)
    }
    let group = Monitor<[RankClient]>([])
    let links = links
    var clients: [RankClient] = []
    var members: [MemberDescription] = []
    for number in 1..<rank.size {
      guard let (connection, address, hello) = found[number] else { continue }
      members.append(
        MemberDescription(
          address: address, port: try hello.int("port"), device: hello["device"]?.text ?? "",
          freeBytes: hello["free"]?.int, hasLinks: hello.flag("links")))
      clients.append(
        try RankClient(
          rank: number, size: rank.size, host: hello["host"]?.text ?? address,
          connection: connection
        ) { error in
          for client in group.withLock({ $0 }) { client.fail(error) }
          for link in links.withLock({ $0 }) { link.abort() }
          onLoss(error)
        })
    }
    let all = clients
    group.withLock { $0 = all }
    Self.allClients.withLock { $0 += all }
    self.clients = clients
    self.members = members
  }

  /// Remembers what has to be ended when a process is lost.
  func watch(_ link: any TensorOutlet) { links.withLock { $0.append(link) } }

  /// The processes of all groups of this program.
  private static let allClients = Monitor<[RankClient]>([])

  /// Lets the other processes end as they should.
  public func end() { clients.forEach { $0.end() } }

  /// The same for all groups of this program, which is about to end itself; waits up to two seconds for each
  /// process.
  public static func endAll() {
    let clients = allClients.withLock { $0 }
    clients.forEach { $0.end() }
    clients.forEach { $0.waitUntilGone(seconds: 2) }
  }

  deinit { end() }
}

extension LayerPipeline {
  /// Spreads a model of some shape over the processes of a group, which this one is the first of.
  ///
  /// The first process embeds and has the output layer: hidden states of the last stage come back to it.
  ///
  /// - Parameters:
  ///   - member: This process's device.
  ///   - stageLayers: How many layers each process gets; nil: every process measures one layer, and
  ///     ``PipelinePlan`` spreads them by time and free memory.
  ///   - load: Makes the part of the model that this process holds.
  /// - Throws: ``PipelineError``; what a device says.
  package convenience init(
    group: ProcessGroup, shape: PipelineShape, member: Member, stageLayers: [Int]? = nil,
    load: (DecoderPart) throws -> Transformer
  ) throws {
    var measured: MeasuredLayers?
    let ranges: [Range<Int>]
    if let stageLayers {
      ranges = try PipelinePlan(
        layers: stageLayers, of: shape.layers, devices: group.rank.size
      ).stages
    } else {
      guard group.rank.size <= shape.layers else {
        throw PipelineError.tooManyStages(stages: group.rank.size, layers: shape.layers)
      }
      let free =
        [try member.backend.availableMemory()?.device] + group.members.map(\.freeBytes)
      let found = try group.measure(
        layers: shape.layers, isProcessor: member.backend.capabilities.hasUnifiedMemory, load)
      measured = found
      var model = PipelinePlan.Model(shape, found)
      model.embeddingBytes += model.outputBytes
      model.outputBytes = 0
      // The first process makes the logits.
      model.embeddingLayers += found.outputLayers
      model.outputLayers = found.lastLayerSaving
      ranges = try PipelinePlan(
        model, shape, found, free: free
      ).stages
    }
    let loads = try group.clients.map { client in
      let layers = ranges[client.rank]
      return try client.start(
        Message(
          "load",
          [("first", .integer(layers.lowerBound)), ("end", .integer(layers.upperBound))]))
    }
    let part = try load(
      DecoderPart(layers: ranges[0], hasEmbedding: true, hasOutput: true))
    for (client, call) in zip(group.clients, loads) { _ = try client.wait(for: call) }
    let outlet = try group.connect(from: member.backend)
    let next = group.clients[0]
    let first = LocalStage(
      part, name: "rank 0, \(member.name), layers \(ranges[0])",
      outlet: .process(outlet) { ticket, hidden in
        try next.post(.expect(ticket: ticket, rows: hidden.rows))
      })
    let others = group.clients.enumerated().map { number, client -> any StageRunner in
      let following = number + 1 < group.clients.count ? group.clients[number + 1] : nil
      return RemoteStage(
        client, layers: ranges[client.rank], device: group.members[number].device,
        outletName: following.map { _ in outlet.name }, following: following, head: part)
    }
    try self.init(stages: [first] + others, head: part, group: group, measured: measured)
  }
}

extension ProcessGroup {
  /// What one layer takes in every process, this one first, which decides how many rows are read.
  fileprivate func measure(
    layers: Int, isProcessor: Bool, _ load: (DecoderPart) throws -> Transformer
  ) throws -> MeasuredLayers {
    var timings = [
      try LayerTiming(
        load(LayerPipeline.measuredPart(of: layers, isLast: false, hasOutput: false)))
    ]
    let rows = timings[0].rows
    let calls = try clients.map { client in
      try client.start(
        Message(
          "measure",
          [
            ("layers", .integer(layers)), ("rows", .integer(rows)),
            ("last", .boolean(client.rank == rank.size - 1)),
          ]))
    }
    for (client, call) in zip(clients, calls) {
      timings.append(try LayerTiming(fields: client.wait(for: call)))
    }
    return MeasuredLayers(devices: timings, isProcessor: isProcessor)
  }
}

extension LayerTiming {
  var fields: [(String, JSONValue)] {
    [
      ("rows", .integer(rows)), ("keys_before", .integer(keysBefore)), ("layer_s", .number(layer)),
      ("behind_s", .number(behind)), ("last_row_s", .number(lastRowOnly)),
      ("bytes", .integer(bytes)),
    ]
  }

  init(fields message: Message) throws {
    func seconds(_ name: String) throws -> Double {
      guard let value = message[name]?.double, value > 0 else {
        throw PipelineError.malformedMessage(detail: "a measured layer without \(name)")
      }
      return value
    }
    self.init(
      rows: try message.int("rows"), keysBefore: try message.int("keys_before"),
      layer: try seconds("layer_s"), behind: try seconds("behind_s"),
      lastRowOnly: try seconds("last_row_s"), bytes: try message.int("bytes"))
  }
}

extension ProcessGroup {
  /// Links each process to the next one.
  ///
  /// - Returns: This process's end.
  fileprivate func connect(from backend: any Backend) throws -> any TensorOutlet {
    let linking = members.allSatisfy(\.hasLinks) ? backend as? any ProcessLinkingBackend : nil
    let isHost = ProcessLinks.keepsToHost || linking == nil
    // One for each link: what both ends have to know.
    let identifiers = try members.map { _ -> [UInt8] in
      guard !isHost, let linking else { return ProcessLinks.makeToken() }
      return try linking.makeLinkIdentifier()
    }
    let calls = try clients.enumerated().map { number, client in
      var fields: [(String, JSONValue)] = [
        ("host_link", .boolean(isHost)), ("in", .string(ProcessLinks.text(identifiers[number]))),
      ]
      if number + 1 < clients.count {
        fields.append(("out", .string(ProcessLinks.text(identifiers[number + 1]))))
        fields.append(("address", .string(members[number + 1].address)))
        fields.append(("port", .integer(members[number + 1].port)))
      }
      return try client.start(Message("connect", fields))
    }
    let outlet = try ProcessLinks.makeOutlet(
      identifiers[0], isHost: isHost, backend: backend, address: members[0].address,
      port: members[0].port)
    watch(outlet)
    for (client, call) in zip(clients, calls) { _ = try client.wait(for: call) }
    return outlet
  }
}
