internal import Synchronization
public import Compute

/// A communicator of two processes, the sender and the receiver of one link.
///
/// Each link has a communicator and a stream of its own, so a stage receives, computes and sends at the
/// same time. NVLink multicast is a matter of collectives; nothing here uses it.
private final class NCCLPair: @unchecked Sendable {
  // Unchecked: NCCL takes calls on one communicator from one thread at a time, see the ends.
  let backend: CUDABackend
  let library: NCCL
  let stream: OpaquePointer?
  private let communicator: OpaquePointer?
  private let isAborted = Atomic<Bool>(false)

  init(_ backend: CUDABackend, _ identifier: [UInt8], rank: Int32) throws {
    guard identifier.count == NCCL.identifierBytes else {
      throw ComputeError.shapeMismatch(
        operation: "link", detail: "an identifier of \(identifier.count) bytes")
    }
    self.backend = backend
    library = try NCCL.load()
    try backend.device.activate()
    stream = try backend.device.makeStream()
    var communicator: OpaquePointer?
    try library.check(
      "ncclCommInitRankScalable",
      library.initialize(&communicator, 2, rank, 1, identifier, nil))
    self.communicator = communicator
  }

  // The communicator stays to the end of the process: ending it takes both processes, and the other one may be
  // gone already.

  func abort() {
    guard !isAborted.exchange(true, ordering: .relaxed) else { return }
    _ = library.abort(communicator)
  }

  func send(_ address: UInt64, _ byteCount: Int) throws {
    try library.check(
      "ncclSend", library.send(address, byteCount, NCCL.bytes, 1, communicator, stream))
  }

  func receive(_ address: UInt64, _ byteCount: Int) throws {
    try library.check(
      "ncclRecv", library.receive(address, byteCount, NCCL.bytes, 0, communicator, stream))
  }
}

/// The sending end. At most ``depth`` tensors are under way; the next one waits.
private final class NCCLOutlet: TensorOutlet, @unchecked Sendable {
  // Unchecked: used by the sender's thread alone, as the protocol says.
  private let pair: NCCLPair
  private var underWay: [(tensor: Tensor, sent: CUDAEvent)] = []
  private static let depth = 3

  let name = "NCCL"

  init(_ pair: NCCLPair) { self.pair = pair }

  func send(_ x: Tensor, ticket: Int) throws {
    let device = pair.backend.device
    try device.activate()
    if underWay.count >= Self.depth {
      try underWay[0].sent.wait()
      underWay.removeFirst()
    }
    let computed = try CUDAEvent(on: device)
    try computed.record()
    try computed.hold(pair.stream)
    try pair.send(pair.backend.address(x, "send"), x.byteCount)
    let sent = try CUDAEvent(on: device)
    try sent.record(on: pair.stream)
    // Freed in the order of the compute stream: behind the send, for those that are dropped early.
    underWay.append((x, sent))
  }

  func abort() { pair.abort() }

  deinit {
    try? pair.backend.device.activate()
    for (_, sent) in underWay { try? sent.hold(pair.backend.device.stream) }
  }
}

/// The receiving end.
private final class NCCLInlet: TensorInlet {
  private let pair: NCCLPair
  private let expected = Mutex<[Int: (tensor: Tensor, arrived: CUDAEvent)]>([:])

  init(_ pair: NCCLPair) { self.pair = pair }

  func expect(ticket: Int, type: DataType, shape: [Int]) throws {
    let device = pair.backend.device
    let tensor = try pair.backend.makeTensor(
      type, shape, purpose: "hidden states from another process")
    try device.activate()
    let ready = try CUDAEvent(on: device)
    try ready.record()
    // One at a time: NCCL counts receives in the order in which they are given.
    try expected.withLock { expected in
      try ready.hold(pair.stream)
      try pair.receive(pair.backend.address(tensor, "receive"), tensor.byteCount)
      let arrived = try CUDAEvent(on: device)
      try arrived.record(on: pair.stream)
      expected[ticket] = (tensor, arrived)
    }
  }

  func take(ticket: Int) throws -> Tensor {
    guard let (tensor, arrived) = expected.withLock({ $0.removeValue(forKey: ticket) }) else {
      throw ComputeError.shapeMismatch(
        operation: "receive", detail: "tensor \(ticket) was not announced")
    }
    try pair.backend.device.activate()
    try arrived.hold(pair.backend.device.stream)
    return tensor
  }

  func abort() { pair.abort() }
}

extension CUDABackend: ProcessLinkingBackend {
  public func makeLinkIdentifier() throws -> [UInt8] {
    let library = try NCCL.load()
    var identifier = [UInt8](repeating: 0, count: NCCL.identifierBytes)
    try library.check("ncclGetUniqueId", library.uniqueID(&identifier))
    return identifier
  }

  public func makeOutlet(_ identifier: [UInt8]) throws -> any TensorOutlet {
    NCCLOutlet(try NCCLPair(self, identifier, rank: 0))
  }

  public func makeInlet(_ identifier: [UInt8]) throws -> any TensorInlet {
    NCCLInlet(try NCCLPair(self, identifier, rank: 1))
  }
}
