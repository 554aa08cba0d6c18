internal import CSystemCalls
internal import CUDASources
internal import StoredNumbers
public import Compute
internal import Synchronization

/// The backend for one NVIDIA GPU (sm_80 and later).
///
/// Activations, weights, keys and values are bfloat16 and sums float32. Operations are given to the
/// device's one compute stream and return before they are done; ``read(_:)`` and ``finish()`` wait.
/// Kernels are compiled at first use for the GPU at hand and kept on disk.
public final class CUDABackend: Backend {
  public let name = "cuda"
  public let capabilities: DeviceCapabilities
  let fallback = HostFallback()
  let device: CUDADevice
  let library: KernelLibrary
  let linearLayers: LinearLayers
  private let state = Mutex(State())
  /// Where matrices in blocks are made bfloat16 for a product; the next one uses it again.
  private let blockScratch = Mutex<Tensor?>(nil)

  /// Which attention kernels are used.
  public enum Kernels: String, Sendable {
    /// Those that run on every GPU from sm_80 on.
    case portable
    /// Hopper's own for heads of 64 and 128, where the GPU has it; the portable ones otherwise.
    case hopper
  }

  let kernels: Kernels
  /// What linear layers multiply.
  let linearPrecision: LinearPrecision

  /// Rows and keys of the index's tile; a thread block computes two tile rows.
  static let tile = 64

  private struct State {
    var notices: [String] = []
    /// Marks behind the two latest sections of work.
    var marks: [CUDAEvent] = []
    /// Those used last at the end; at most ``mostFrequencies``.
    var frequencies: [(values: [Float], tensor: Tensor)] = []
    /// A word that kernels which count their work leave at zero.
    var counter: Tensor?
    /// Words that attention of few rows leaves at zero, and room for its partial results.
    var rowCounters: Tensor?
    var rowPartials: Tensor?
    /// Keys and values of the last attention with fp8 operands, as its kernel reads them.
    var blocks: Float8Blocks?
    /// The host index that was used last, and its form on the device.
    var uploaded: (index: TileIndex, form: UploadedIndex)?
    /// Bytes that the GPU is taken to have; nil: as many as it has.
    var memoryLimit: Int?
  }

  var memoryLimit: Int? {
    get { state.withLock(\.memoryLimit) }
    set { state.withLock { $0.memoryLimit = newValue } }
  }

  /// Zero, for a kernel that counts its work and sets the count back.
  func counter() throws -> Tensor {
    if let tensor = state.withLock(\.counter) { return tensor }
    let tensor = try uploaded([Int32](repeating: 0, count: 4), purpose: "a counter")
    state.withLock { $0.counter = tensor }
    return tensor
  }

  /// Room for so many numbers and a zero for each kv head, both used again by the next attention of few
  /// rows, which runs behind this one: decoding asks for them in every layer.
  func rowMemory(partials count: Int) throws -> (partials: Tensor, counters: Tensor) {
    let (kept, zeros) = state.withLock { ($0.rowPartials, $0.rowCounters) }
    let partials =
      if let kept, kept.count >= count { kept } else {
        try makeTensor(.float32, [count], purpose: "partial attention")
      }
    let counters =
      try zeros
      ?? uploaded([Int32](repeating: 0, count: AttentionLaunch.rowCounters), purpose: "counters")
    state.withLock { ($0.rowPartials, $0.rowCounters) = (partials, counters) }
    device.step?.keep(partials, counters)
    return (partials, counters)
  }

  /// Room for so many elements of a matrix, for one caller at a time: until `work` has given the device
  /// everything that reads it.
  func withBlockScratch(elements: Int, _ work: (Tensor) throws -> Void) throws {
    try blockScratch.withLock { scratch in
      let tensor =
        if let scratch, scratch.count >= elements { scratch } else {
          try makeTensor(.bfloat16, [elements], purpose: "a matrix as bfloat16")
        }
      scratch = tensor
      device.step?.keep(tensor)
      try work(tensor)
    }
  }

  var lastFloat8Blocks: Float8Blocks? {
    get { state.withLock(\.blocks) }
    set { state.withLock { $0.blocks = newValue } }
  }

  /// Called wherever keys and values may change.
  func forgetFloat8Blocks() {
    if attentionPrecision == .fp8 { lastFloat8Blocks = nil }
  }

  /// A host index on the device; the last one is kept, since blocks of rows share an index.
  func uploadedIndex(_ index: TileIndex) throws -> UploadedIndex {
    let last = state.withLock(\.uploaded)
    if let last, last.index.firstPosition == index.firstPosition,
      last.index.rows == index.rows, last.index.rowSetOfHead == index.rowSetOfHead,
      last.index.rowSets == index.rowSets
    {
      return last.form
    }
    let form = try UploadedIndex(index, backend: self)
    state.withLock { $0.uploaded = (index, form) }
    return form
  }

  /// Opens one GPU. Its kernels, matrix products and scratch memory are its own.
  ///
  /// - Parameters:
  ///   - rowBlock: Bounds activations of a 7B model to about 2 GiB while a product still fills the GPU.
  ///   - ordinal: The driver's number of the GPU; nil for the one that MINFERENCE_CUDA_DEVICE names, and
  ///     the first one where it names none.
  /// - Throws: `ComputeError.unavailable` without driver, GPU, NVRTC or cuBLASLt, and for
  ///   `attentionPrecision` fp8 on a GPU other than Hopper.
  public init(
    rowBlock: Int = 16384, kernels: Kernels = .hopper, linear: LinearPrecision = .bf16,
    attentionPrecision: AttentionPrecision = .native, ordinal: Int? = nil
  ) throws {
    self.kernels = kernels
    linearPrecision = linear
    capabilities = DeviceCapabilities(
      activationType: .bfloat16, linearInputType: linear == .fp8 ? .float8 : .bfloat16,
      weightFormats: DeviceCapabilities.allWeightFormats,
      headSizes: Self.headDims,
      // A thread block loads keys for two tile rows of 64 and each half computes what is its own: the
      // grain of 64 costs loads, and no products.
      tile: TileShape(rows: Self.tile, columns: Self.tile), rowBlock: rowBlock,
      hasUnifiedMemory: false, attentionPrecision: attentionPrecision,
      attentionBytesPerKeyElement: attentionPrecision == .fp8 ? 2 : 0
    ).building(bandTimes: SelectionLaunch.bandTimes, blockScoreBytes: BlockLaunch.scoreBytes)
    device = try CUDADevice(ordinal: ordinal)
    guard attentionPrecision == .native || Self.hasHopperKernel(device) else {
      throw ComputeError.unavailable(
        what: "attention with fp8 operands on \(device.name) (sm_\(device.architecture))",
        remedy: Remedy("they need Hopper (sm_90)", use: .nativeAttention))
    }
    library = KernelLibrary(device: device)
    linearLayers = try LinearLayers(device: device)
    if linear == .fp8, !hasFloat8Linear {
      throw ComputeError.unavailable(
        what: "linear layers in fp8 on \(deviceName) with cuBLASLt \(linearLayers.version)",
        remedy: Remedy(
          "they need a Hopper GPU (sm_90) and cuBLAS of CUDA 12.9 or later", use: .bfloat16Linear))
    }
  }

  /// Calls `body` before a kernel file is compiled, which takes seconds where the cache on disk has none.
  /// It is called on the thread that needs the kernel, and must not use the backend.
  public func onKernelCompilation(_ body: (@Sendable (KernelCompilation) -> Void)?) {
    library.onCompilation(body)
  }

  /// Whether an NVIDIA driver is installed, with or without a GPU that it may use.
  public static var hasDriver: Bool { CUDADriver.isInstalled }

  /// Whether linear layers can be computed in ``LinearPrecision/fp8``: a Hopper GPU, and cuBLASLt 12.9 or
  /// later.
  public var hasFloat8Linear: Bool { linearLayers.multipliesFloat8 }

  /// The GPU's name and architecture: "NVIDIA H100 80GB HBM3 (sm_90)".
  public var deviceName: String { "\(device.name) (sm_\(device.architecture))" }

  /// Whether this GPU has a kernel that others do not run.
  public var hasOwnKernels: Bool { hasHopperKernel }

  public var notices: [String] {
    let served = fallback.operations
    let onHost =
      served.isEmpty
      ? [] : ["computed on the host: " + served.map(\.rawValue).joined(separator: ", ")]
    return state.withLock(\.notices) + library.notices + onHost
  }

  public var hostOperations: [HostFallback.Operation] { fallback.operations }

  public func availableMemory() throws -> (device: Int, host: Int)? {
    let memory = try device.memory()
    let absent = memoryLimit.map { max(0, memory.total - $0) } ?? 0
    return (max(0, memory.free - absent), Int(csystem_available_memory_bytes()))
  }

  /// The most bytes of the GPU that tensors have taken at once, but for keys and values in shared pieces.
  public var peakDeviceBytes: Int { device.peakBytes }

  func notice(_ text: String) {
    state.withLock { if !$0.notices.contains(text) { $0.notices.append(text) } }
  }

  /// Makes the first kernel ready: what is missing to compile kernels shows now, not in a prompt.
  ///
  /// - Throws: `ComputeError.unavailable` without NVRTC.
  public func prepare() throws { _ = try kernel("add", in: "elementwise.cu") }

  public func requireSupport(of shape: AttentionShape, widths: [Int]) throws {
    guard Self.headDims.contains(shape.headDim) else {
      throw ComputeError.unavailable(
        what: "attention with heads of \(shape.headDim) dimensions on a GPU",
        remedy: Remedy("a GPU takes heads of 64, 96 or 128", use: .processor))
    }
    if let width = widths.first(where: { $0 % 8 != 0 }) {
      throw ComputeError.unavailable(
        what: "a model with rows of \(width) numbers on a GPU",
        remedy: Remedy("a GPU takes multiples of 8", use: .processor))
    }
    try requireFloat8Attention(headDim: shape.headDim)
  }

  /// Head sizes that attention kernels are compiled for.
  static let headDims: Set<Int> = [64, 96, 128]

  // MARK: Order and time

  public func finish() throws { try device.synchronize() }

  public func limitWorkAhead() throws {
    try device.activate()
    let mark = try CUDAEvent(on: device)
    try mark.record()
    let earlier = state.withLock { state in
      state.marks.append(mark)
      return state.marks.count > 2 ? state.marks.removeFirst() : nil
    }
    try earlier?.wait()
  }

  public func makeStopwatch() -> any WorkStopwatch { CUDAStopwatch(on: device) }

  // MARK: Small helpers

  func kernel(
    _ name: String, in file: String, for format: BlockFormat? = nil
  ) throws -> Kernel {
    try library.kernel(name, in: file, for: format)
  }

  /// The device address of a tensor's first element.
  func address(_ tensor: Tensor, _ operation: String) throws -> UInt64 {
    guard let memory = tensor.buffer as? DeviceMemory, memory.device === device else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "a tensor belongs to another device")
    }
    return memory.address + UInt64(tensor.byteOffset)
  }

  /// The same, for a tensor of that type.
  func address(_ tensor: Tensor, _ type: DataType, _ operation: String) throws -> UInt64 {
    guard tensor.type == type else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "\(tensor.type.rawValue) where \(type.rawValue) is needed")
    }
    return try address(tensor, operation)
  }

  func require(
    _ condition: Bool, _ operation: String, _ detail: @autoclosure () -> String
  ) throws {
    guard condition else {
      throw ComputeError.shapeMismatch(operation: operation, detail: detail())
    }
  }

  /// Inverse frequencies on the device; one tensor for each embedding. The ones used last are kept: with
  /// dynamic scaling every length of a sequence has its own.
  func frequencies(_ values: [Float]) throws -> Tensor {
    let kept = state.withLock { state -> Tensor? in
      guard let place = state.frequencies.lastIndex(where: { $0.values == values }) else {
        return nil
      }
      let entry = state.frequencies.remove(at: place)
      state.frequencies.append(entry)
      return entry.tensor
    }
    if let kept {
      device.step?.keep(kept)
      return kept
    }
    let tensor = try makeTensor(.float32, [values.count], purpose: "rotary frequencies")
    try write(values, to: tensor)
    state.withLock { state in
      if state.frequencies.count >= Self.mostFrequencies { state.frequencies.removeFirst() }
      state.frequencies.append((values, tensor))
    }
    return tensor
  }

  /// Embeddings whose frequencies stay on the device.
  private static let mostFrequencies = 16
}
