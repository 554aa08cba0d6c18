internal import CUDASources
internal import Compute
internal import Synchronization

/// A decoding step while its operations are asked for: where its inputs lie on the device, and what it
/// needs for as long as it may be repeated.
final class CUDAStep: @unchecked Sendable {
  /// Tokens of the step, one of each sequence.
  let rows: Int
  let keyLimit: Int
  /// [2, rows] int32: the tokens' ids, their positions.
  private let inputs: DeviceMemory
  /// Where the keys and values of the rows lie, [layers, rows] `SequenceRow`.
  private let table: DeviceMemory
  /// The rows' layers in the order in which the work named them, by generation.
  private var layers: [[UInt64]] = []
  /// The type of keys and values.
  private var type: DataType?
  /// The stream that records; nil: operations are done on the compute stream.
  let recordingStream: OpaquePointer?
  /// Memory that operations were given within the step.
  private(set) var memory: [DeviceMemory] = []

  private static let mostLayers = 256

  init(rows: Int, keyLimit: Int, recordingStream: OpaquePointer?, on device: CUDADevice) throws {
    self.rows = rows
    self.keyLimit = keyLimit
    self.recordingStream = recordingStream
    inputs = try DeviceMemory(8 * rows, on: device, purpose: "the inputs of a decoding step")
    table = try DeviceMemory(
      Self.mostLayers * rows * MemoryLayout<mi_sequence_row>.stride, on: device,
      purpose: "the inputs of a decoding step")
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
  func setInputs(ids: [Int32], positions: [Int]) throws {
    guard ids.count == rows, positions.count == rows,
      positions.allSatisfy((0..<keyLimit).contains)
    else {
      throw ComputeError.shapeMismatch(
        operation: "a decoding step",
        detail: "\(ids.count) ids, positions \(positions) of \(rows) rows below \(keyLimit)")
    }
    try upload(ids + positions.map(Int32.init), to: inputs.address)
  }

  /// From memory that is not page-locked so few bytes are copied before the call returns.
  private func upload<Element: BitwiseCopyable>(_ values: [Element], to address: UInt64) throws {
    let device = inputs.device
    try device.activate()
    try values.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      try device.driver.check(
        "cuMemcpyHtoDAsync",
        device.driver.copyToDevice(address, start, bytes.count, device.computeStream))
    }
  }

  /// The ids of `embed`: those on the device.
  func ids(of ids: [Int32]) throws -> Tensor {
    guard ids.count == rows else { throw refusal("\(ids.count) tokens") }
    return Tensor(buffer: inputs, type: .int32, shape: [rows])
  }

  /// Where the positions of the step's rows are.
  func positionAddress(rows: Int) throws -> UInt64 {
    guard rows == self.rows else { throw refusal("\(rows) rows") }
    return inputs.address + UInt64(4 * rows)
  }

  /// Where the position of the only row is, for operations of consecutive rows.
  func onlyPositionAddress(rows: Int) throws -> UInt64 {
    guard rows == 1 else { throw refusal("\(rows) rows") }
    return try positionAddress(rows: rows)
  }

  // MARK: Keys and values

  /// Where the device finds the keys and values of the rows in a layer.
  func tableAddress(
    of sequences: [KeyValueLayer], rows described: () throws -> [mi_sequence_row]
  ) throws -> UInt64 {
    guard sequences.count == rows else { throw refusal("\(sequences.count) sequences") }
    let generations = sequences.map(\.generation)
    // Operations of one layer name it one after the other.
    if layers.last == generations { return address(ofLayer: layers.count - 1) }
    if let known = layers.firstIndex(of: generations) { return address(ofLayer: known) }
    guard layers.count < Self.mostLayers else { throw refusal("\(layers.count + 1) layers") }
    layers.append(generations)
    type = sequences.first?.keys.type
    let address = address(ofLayer: layers.count - 1)
    try upload(described(), to: address)
    return address
  }

  /// Points the rows to other sequences.
  func bind(
    _ sequences: [[KeyValueLayer]],
    rows described: (_ layer: [KeyValueLayer]) throws -> [mi_sequence_row]
  ) throws {
    guard sequences.count == rows, sequences.allSatisfy({ $0.count == layers.count }),
      sequences.joined().allSatisfy({ $0.keys.type == type })
    else {
      throw ComputeError.shapeMismatch(
        operation: "a decoding step",
        detail: "\(sequences.count) sequences of \(sequences.map(\.count)) layers for \(rows) rows "
          + "and \(layers.count) layers of \(type?.rawValue ?? "no type")")
    }
    let table = try layers.indices.flatMap { layer in try described(sequences.map { $0[layer] }) }
    try upload(table, to: self.table.address)
  }

  private func address(ofLayer layer: Int) -> UInt64 {
    table.address + UInt64(layer * rows * MemoryLayout<mi_sequence_row>.stride)
  }

  // MARK: Refusals

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
  private let describe: ([KeyValueLayer]) throws -> [mi_sequence_row]
  /// Inputs and launch of one repetition belong together.
  private let turn = Mutex<Void>(())

  var keyLimit: Int { step.keyLimit }

  /// Takes over the executable graph.
  init(
    _ step: CUDAStep, graph: OpaquePointer?, device: CUDADevice,
    describe: @escaping ([KeyValueLayer]) throws -> [mi_sequence_row]
  ) {
    self.step = step
    self.graph = graph
    self.device = device
    self.describe = describe
  }

  deinit {
    // The driver keeps what still runs.
    try? device.activate()
    _ = device.driver.destroyExecutableGraph(graph)
  }

  func bind(_ sequences: [[KeyValueLayer]]) throws {
    try turn.withLock { _ in try step.bind(sequences, rows: describe) }
  }

  func run(ids: [Int32], positions: [Int]) throws {
    try turn.withLock { _ in
      try step.setInputs(ids: ids, positions: positions)
      try device.driver.check(
        "cuGraphLaunch", device.driver.launchGraph(graph, device.computeStream))
    }
  }
}
