internal import Compute
internal import Synchronization

/// A decoding step while its operations are asked for: where its inputs lie on the device, and what it
/// needs for as long as it may be repeated.
final class CUDAStep: @unchecked Sendable {
  /// Two words: the token's id, its position.
  private let inputs: DeviceMemory
  let keyLimit: Int
  /// The stream that records; nil: operations are done on the compute stream.
  let recordingStream: OpaquePointer?
  /// Memory that operations were given within the step.
  private(set) var memory: [DeviceMemory] = []

  init(keyLimit: Int, recordingStream: OpaquePointer?, on device: CUDADevice) throws {
    inputs = try DeviceMemory(8, on: device, purpose: "the inputs of a decoding step")
    self.keyLimit = keyLimit
    self.recordingStream = recordingStream
  }

  /// Keeps what is allocated within a step that is recorded: every repetition uses it.
  func keep(_ memory: DeviceMemory) {
    if recordingStream != nil { self.memory.append(memory) }
  }

  /// The same for memory that was there before, and that its owner may give up.
  func keep(_ tensors: Tensor...) {
    for case let memory as DeviceMemory in tensors.map(\.buffer) { keep(memory) }
  }

  /// Writes the inputs, behind the work that was given before.
  func setInputs(id: Int32, position: Int) throws {
    let device = inputs.device
    guard (0..<keyLimit).contains(position) else {
      throw ComputeError.shapeMismatch(
        operation: "a decoding step", detail: "position \(position) of \(keyLimit)")
    }
    try device.activate()
    var words = (id, Int32(position))
    // From memory that is not page-locked so few bytes are copied before the call returns.
    try device.driver.check(
      "cuMemcpyHtoDAsync",
      device.driver.copyToDevice(inputs.address, &words, 8, device.computeStream))
  }

  /// The ids of `embed`: those on the device.
  func id(of ids: [Int32]) throws -> Tensor {
    guard ids.count == 1 else { throw refusal("\(ids.count) tokens") }
    return Tensor(buffer: inputs, type: .int32, shape: [1])
  }

  /// Where the position of the step's row is.
  func positionAddress(rows: Int) throws -> UInt64 {
    guard rows == 1 else { throw refusal("\(rows) rows") }
    return inputs.address + 4
  }

  /// Throws for what only the host can do, while the step is recorded.
  func refuse(_ what: String) throws {
    if recordingStream != nil { throw refusal(what) }
  }

  private func refusal(_ what: String) -> ComputeError {
    .unavailable(what: "\(what) in a recorded decoding step", remedy: "decode without recording")
  }
}

/// A step that the driver has recorded as a graph.
final class CUDARecordedStep: RecordedStep, @unchecked Sendable {
  private let device: CUDADevice
  private let step: CUDAStep
  private let graph: OpaquePointer?
  /// Inputs and launch of one repetition belong together.
  private let turn = Mutex<Void>(())

  var keyLimit: Int { step.keyLimit }

  /// Takes over the executable graph.
  init(_ step: CUDAStep, graph: OpaquePointer?, device: CUDADevice) {
    self.step = step
    self.graph = graph
    self.device = device
  }

  deinit {
    // The driver keeps what still runs.
    try? device.activate()
    _ = device.driver.destroyExecutableGraph(graph)
  }

  func run(id: Int32, position: Int) throws {
    try turn.withLock { _ in
      try step.setInputs(id: id, position: position)
      try device.driver.check(
        "cuGraphLaunch", device.driver.launchGraph(graph, device.computeStream))
    }
  }
}
