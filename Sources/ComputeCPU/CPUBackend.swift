internal import CKernels
internal import CSystemCalls
public import Compute

/// The backend for processors: SIMD kernels chosen at run time, on threads of its own.
///
/// Float32 arithmetic; dense weights stay in their stored type and are widened as they are used, those
/// in blocks are multiplied with int8 activations. Keys and values are float32 or bfloat16.
public final class CPUBackend: Backend, HostSampling, SeparateDecoding {
  public let name = "cpu"
  public let instructionSet: InstructionSet
  /// What the user should know about this machine, one line each (for example: no BLAS was found).
  public let notices: [String]
  /// The BLAS kernels in use, or nil for the built-in product.
  public var blasKernelName: String? { blas?.kernelName }
  public var threads: Int { pool.threads }
  /// Whether the fastest instruction set multiplies pairs of bfloat16.
  public static var hasBFloat16Products: Bool {
    InstructionSet.available.last?.bfloat16Products != nil
  }
  /// Whether keys and values of several sequences can lie in the same memory on this system.
  public static var sharesKeyValues: Bool { csystem_can_share_pages() }
  /// The products in use for bfloat16 weights; nil: those of float32.
  public var bfloat16ProductName: String? { bfloat16Products.map { String(cString: $0.name) } }
  /// More threads than any processor has are a mistake, and each costs memory.
  public static let mostThreads = 1024

  nonisolated(unsafe) let kernels: mi_kernels
  nonisolated(unsafe) let products: mi_block_products
  /// What rows are multiplied with bfloat16 weights by; nil: in float32.
  nonisolated(unsafe) let bfloat16Products: mi_bfloat16_products?
  let pool: ThreadPool
  let blas: OpenBLAS?
  let scratch: ScratchMemory
  /// Quantised rows of the product that is being computed.
  let activations = SharedMemory()
  let rotationTables = RotationTables()
  public let fallback = HostFallback()

  public var hostOperations: [HostFallback.Operation] { fallback.operations }

  public let capabilities: DeviceCapabilities

  /// - Parameters:
  ///   - threads: threads that kernels run on; nil for one on every processor that may be used.
  ///   - instructionSet: nil for the fastest that the processor runs.
  ///   - usesBFloat16Products: whether activations are rounded to bfloat16 for products with bfloat16 weights,
  ///     where the processor multiplies pairs of these; twice as fast as float32 for many rows. What a row
  ///     gives does not depend on the rows beside it then.
  ///   - useBLAS: false for the built-in product in linear layers. With OpenBLAS the process's copy of the
  ///     library is set to one thread a call, and OPENBLAS_CORETYPE may be set: a host program that calls
  ///     OpenBLAS itself sees both.
  /// Throws ``ComputeError/unavailable(what:remedy:)`` for an instruction set that is not there.
  public init(
    threads: Int? = nil, instructionSet: InstructionSet? = nil,
    usesBFloat16Products: Bool = false, useBLAS: Bool = true, notices: [String] = []
  ) throws {
    guard let set = instructionSet ?? InstructionSet.available.last, let kernels = set.kernels,
      let products = set.blockProducts
    else {
      throw ComputeError.unavailable(
        what: "instruction set \(instructionSet?.rawValue ?? "")",
        remedy: Remedy(
          "use one of " + InstructionSet.available.map(\.rawValue).joined(separator: ", ")))
    }
    guard (1...Self.mostThreads).contains(threads ?? 1) else {
      throw ComputeError.unavailable(
        what: "a pool of \(threads ?? 0) threads",
        remedy: Remedy("1 to \(Self.mostThreads) can be had", use: .otherThreads))
    }
    guard let pool = ThreadPool(threads: threads ?? processorCount()) else {
      throw ComputeError.unavailable(
        what: "a thread pool", remedy: Remedy("free memory", use: .otherThreads))
    }
    self.instructionSet = set
    self.kernels = kernels.pointee
    self.products = products.pointee
    bfloat16Products = usesBFloat16Products ? set.bfloat16Products?.pointee : nil
    capabilities = DeviceCapabilities(
      activationType: .float32, bfloat16ProductType: bfloat16Products == nil ? nil : .bfloat16,
      roundsForBlocks: true, weightFormats: DeviceCapabilities.allWeightFormats,
      // Queries lie along the lanes and keys are read one by one, so narrow key tiles cost nothing;
      // 16 keeps the index small and rounds a lone slash from 32 to at most 48 columns.
      tile: TileShape(rows: Int(MI_TILE_ROWS), columns: 16), rowBlock: 2048, hasUnifiedMemory: true,
      estimationRows: Int(MI_LAST_ROWS))
    self.pool = pool
    scratch = ScratchMemory(threads: pool.threads)
    var notices = notices
    do {
      blas = useBLAS ? try OpenBLAS.load(avx512: set == .avx512, threads: pool.threads) : nil
    } catch let error as ComputeError {
      if case .outOfMemory = error { throw error }
      blas = nil
      notices.append("\(error)")
    } catch {
      blas = nil
      notices.append("\(error)")
    }
    self.notices = notices + (blas?.notices ?? [])
  }

  // Every operation is done when it returns, in the host's memory.
  public func requireSupport(of shape: AttentionShape, widths: [Int]) {}
  public func availableMemory() -> (device: Int, host: Int)? { nil }
  public func finish() {}
  public func limitWorkAhead() {}
  public func makeStopwatch() -> any WorkStopwatch { HostStopwatch() }

  // MARK: Memory

  public func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    let byteCount = try Self.byteCount(type, shape, purpose: purpose)
    // Linux grants more than there is and kills later; large requests are checked first.
    if byteCount > 64 << 20, let available = freeHostBytes(), byteCount > available {
      throw ComputeError.outOfMemory(wantedBytes: byteCount, purpose: purpose)
    }
    guard let buffer = HostBuffer(byteCount: byteCount) else {
      throw ComputeError.outOfMemory(wantedBytes: byteCount, purpose: purpose)
    }
    return Tensor(buffer: buffer, type: type, shape: shape)
  }

  private static func byteCount(_ type: DataType, _ shape: [Int], purpose: String) throws -> Int {
    var bytes = type.byteCount
    for extent in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
      guard extent >= 0, !overflow else {
        throw ComputeError.outOfMemory(wantedBytes: Int.max, purpose: purpose)
      }
      bytes = product
    }
    return bytes
  }

  // MARK: Weights

  /// Matrices stay where they are mapped, in the format of the file. Norms and biases, which are small, are
  /// copied to float32.
  public func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
    if case .blocks(let format) = stored.format {
      switch role {
      case .matrix, .vocabulary:
        return Weight(
          storage: HostBuffer(borrowing: stored.bytes, owner: stored.owner),
          format: stored.format, shape: stored.shape)
      case .norm, .bias: return Weight(try widened(stored, format))
      }
    }
    if let scales = stored.scales, role == .matrix { return try prepareFloat8(stored, scales) }
    let type = try stored.denseType(on: self)
    return try prepare(
      Tensor(
        buffer: HostBuffer(borrowing: stored.bytes, owner: stored.owner), type: type,
        shape: stored.shape), as: role)
  }

  public func prepare(_ numbers: Tensor, as role: WeightRole) throws -> Weight {
    switch role {
    case .matrix, .vocabulary: return Weight(numbers)
    case .norm, .bias:
      let copy = try makeTensor(.float32, numbers.shape, purpose: "weights")
      try write(try read(numbers), to: copy)
      return Weight(copy)
    }
  }

  public func read(_ tensor: Tensor) throws -> [Float] {
    let source = try tensor.hostAddress
    guard let type = tensor.type.storage else {
      throw ComputeError.shapeMismatch(operation: "read", detail: "\(tensor.type) is not a float")
    }
    return [Float](unsafeUninitializedCapacity: tensor.count) { target, count in
      count = tensor.count
      if let target = target.baseAddress {
        kernels.to_float32(source, type, target, Int64(count))
      }
    }
  }

  public func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
    try requireGather(x, rows: rows, into: y)
    let width = x.rowCount * x.type.byteCount
    let source = try x.hostAddress
    let target = try y.hostAddress
    pool.split(rows.count, minimum: 64) { range in
      for row in range {
        (target + row * width).copyMemory(
          from: source + Int(rows[row]) * width, byteCount: width)
      }
    }
  }

  public func makeStagingMemory(byteCount: Int, purpose: String) -> any StagingMemory {
    HostStagingMemory(byteCount)
  }

  public func copy(_ parts: [StagedPart], to memory: any StagingMemory) throws {
    for part in parts {
      try memory.bytes(of: part, "copy").copyMemory(
        from: UnsafeRawBufferPointer(
          start: try part.tensor.hostAddress, count: part.tensor.byteCount))
    }
  }

  public func copy(_ memory: any StagingMemory, to parts: [StagedPart]) throws {
    for part in parts {
      try part.tensor.hostAddress.copyMemory(
        from: memory.start + part.offset, byteCount: try memory.bytes(of: part, "copy").count)
    }
  }

  public func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    let type = options.type ?? activationType
    if type == .float32 || type == .bfloat16,
      let store = try SharedKeyValueStore(
        layers: layers, extents: extents, type: type, sharing: sharing, freeBytes: freeHostBytes())
    {
      return store
    }
    return try TensorKeyValueStore(
      layers: layers, extents: extents, options: options, sharing: sharing, backend: self)
  }

  public func write(_ values: [Float], to tensor: Tensor) throws {
    guard values.count == tensor.count else {
      throw ComputeError.shapeMismatch(
        operation: "write", detail: "\(values.count) values for \(tensor.shape)")
    }
    let target = try tensor.floats("write")
    values.withUnsafeBufferPointer { source in
      if let source = source.baseAddress { target.update(from: source, count: values.count) }
    }
  }
}

extension DataType {
  /// The kernels' word for a float type.
  var storage: mi_type? {
    switch self {
    case .float32: MI_FLOAT32
    case .float16: MI_FLOAT16
    case .bfloat16: MI_BFLOAT16
    case .float8, .int32: nil
    }
  }
}
