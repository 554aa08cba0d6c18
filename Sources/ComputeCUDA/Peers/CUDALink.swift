public import Compute

/// Carries tensors from one GPU to another: straight where the GPUs reach each other's memory, through
/// page-locked memory where they do not.
///
/// Nobody waits. The copy waits for what was given to the sender, and what is given to the receiver
/// afterwards waits for the copy.
final class CUDALink: TensorLink, @unchecked Sendable {
  // Unchecked: used by the sender's thread alone, as the protocol says.
  private let sender: CUDABackend
  private let receiver: CUDABackend
  private let isDirect: Bool
  /// What the latest copy reads: it is freed once the copy is over.
  private var source: (tensor: Tensor, copied: CUDAEvent)?
  /// Page-locked memory with the mark behind its last use, two in turn.
  private var staging: [(memory: PinnedMemory, used: CUDAEvent)] = []
  private var spans: [(start: CUDAEvent, end: CUDAEvent)] = []

  /// MINFERENCE_CUDA_PEERS=0 keeps to page-locked memory.
  static let variable = "MINFERENCE_CUDA_PEERS"

  init(from sender: CUDABackend, to receiver: CUDABackend) throws {
    self.sender = sender
    self.receiver = receiver
    isDirect =
      try HostSystem.environment(Self.variable) != "0"
      && (sender.device.ordinal == receiver.device.ordinal
        || sender.device.openWay(to: receiver.device))
  }

  deinit {
    try? sender.device.activate()
    try? source?.copied.wait()
    for (_, used) in staging { try? used.wait() }
  }

  var name: String { isDirect ? "copies between GPUs" : "page-locked memory" }

  func send(_ x: Tensor) throws -> Tensor {
    let y = try receiver.makeTensor(
      x.type, x.shape, purpose: "hidden states from another GPU")
    let (from, to) = (sender.device, receiver.device)
    let driver = from.driver
    let (xAddress, yAddress) = (
      try sender.address(x, "send"), try receiver.address(y, "send")
    )
    try to.activate()
    let ready = try CUDAEvent(on: to)
    try ready.record()
    try from.activate()
    // The tensor before goes back to the pool behind the copy that read it.
    try source?.copied.hold(from.stream)
    source = nil
    let computed = try CUDAEvent(on: from)
    try computed.record()
    try computed.hold(from.copyStream)
    try ready.hold(from.copyStream)
    let start = try CUDAEvent(on: from)
    let end = try CUDAEvent(on: from)
    try start.record(on: from.copyStream)
    if isDirect {
      try driver.check(
        "cuMemcpyPeerAsync",
        driver.copyToPeer(
          yAddress, to.context, xAddress, from.context, x.byteCount, from.copyStream))
      try end.record(on: from.copyStream)
      try to.activate()
      try end.hold(to.stream)
    } else {
      let memory = try stagingMemory(x.byteCount)
      try from.activate()
      try driver.check(
        "cuMemcpyDtoHAsync",
        driver.copyToHost(memory.start, xAddress, x.byteCount, from.copyStream))
      try end.record(on: from.copyStream)
      try to.activate()
      try end.hold(to.copyStream)
      try ready.hold(to.copyStream)
      try driver.check(
        "cuMemcpyHtoDAsync",
        driver.copyToDevice(yAddress, memory.start, x.byteCount, to.copyStream))
      let arrived = try CUDAEvent(on: to)
      try arrived.record(on: to.copyStream)
      try arrived.hold(to.stream)
      staging.append((memory, arrived))
    }
    source = (x, end)
    spans.append((start, end))
    if spans.count > Self.mostSpans { spans.removeFirst() }
    return y
  }

  /// Copies whose times are kept.
  private static let mostSpans = 4096

  private func stagingMemory(_ byteCount: Int) throws -> PinnedMemory {
    guard staging.count >= 2 else {
      return try PinnedMemory(byteCount, on: sender.device, purpose: "hidden states")
    }
    let (memory, used) = staging.removeFirst()
    try used.wait()
    guard memory.byteCount < byteCount else { return memory }
    return try PinnedMemory(byteCount, on: sender.device, purpose: "hidden states")
  }

  func copySeconds() throws -> [Double] {
    try sender.device.activate()
    defer { spans = [] }
    return try spans.map { start, end in
      try end.wait()
      return try end.seconds(since: start)
    }
  }
}

extension CUDABackend: LinkingBackend {
  public func makeLink(to receiver: any Backend) throws -> (any TensorLink)? {
    guard let receiver = receiver as? CUDABackend else { return nil }
    return try CUDALink(from: self, to: receiver)
  }

  /// How many GPUs this process sees.
  ///
  /// - Throws: `ComputeError.unavailable` without driver.
  public static func deviceCount() throws -> Int { try CUDADevice.count() }

  /// The driver's number of the GPU.
  public var ordinal: Int { device.ordinal }
}
