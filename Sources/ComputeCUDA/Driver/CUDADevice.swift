internal import CSystemCalls
internal import Compute
internal import Synchronization

/// One GPU: its properties, its context, and the streams that this backend works on.
///
/// All kernels run in the order given on one stream; copies between host and device that should run
/// beside them have a stream of their own.
final class CUDADevice: @unchecked Sendable {
  let driver: CUDADriver
  /// The driver's number of the GPU.
  let ordinal: Int
  let name: String
  /// 80 for 8.0.
  let architecture: Int
  let multiprocessors: Int
  /// Whether memory can lie at addresses of one's choice: not with every driver for virtual machines.
  let mapsMemory: Bool
  /// The driver's CUDA version: 13000 for 13.0.
  let driverVersion: Int
  let context: OpaquePointer?
  let pool: OpaquePointer?
  /// Whether a kernel may begin before the one in front has ended: Hopper, and a driver whose recorded steps
  /// know of it (CUDA 12.4).
  var overlapsKernels: Bool {
    get { architecture >= 90 && driverVersion >= 12040 && mayOverlap.load(ordering: .relaxed) }
    set { mayOverlap.store(newValue, ordering: .relaxed) }
  }
  private let mayOverlap = Atomic<Bool>(true)
  /// The stream that all work is done on, in the order given.
  let computeStream: OpaquePointer?
  let copyStream: OpaquePointer?
  /// The thread that is within a decoding step whose inputs are on the device; 0: none.
  private let stepThread = Atomic<UInt>(0)
  /// That step. The thread alone touches it.
  private nonisolated(unsafe) var currentStep: CUDAStep?
  /// Bit pattern of the stream that steps are recorded on, once there is one.
  private let recorder = Mutex<UInt?>(nil)
  /// Held by the thread within a step.
  private let stepTurn = Mutex<Void>(())

  /// Opens a GPU.
  ///
  /// - Parameter ordinal: The driver's number of the GPU; nil for the one that MINFERENCE_CUDA_DEVICE
  ///   names, and the first one where it names none.
  /// - Throws: `ComputeError.unavailable` without driver or GPU, or for one older than sm_80.
  init(ordinal wanted: Int? = nil) throws {
    let driver = try CUDADriver.load()
    self.driver = driver
    let code = driver.initialize(0)
    guard code == 0 else {
      let error = driver.error("cuInit", code)
      throw ComputeError.unavailable(what: "a GPU (\(error.name))", remedy: error.remedy)
    }
    var count: Int32 = 0
    try driver.check("cuDeviceGetCount", driver.deviceCount(&count))
    let named = HostSystem.environment("MINFERENCE_CUDA_DEVICE").flatMap { Int32($0) }
    let ordinal = wanted.map { Int32(clamping: $0) } ?? named ?? 0
    guard (0..<count).contains(ordinal) else {
      throw ComputeError.unavailable(
        what: "GPU \(ordinal)",
        remedy: count == 0
          ? CUDAError.remedy(ofDriverError: 100)
          : "choose a GPU of 0 ... \(count - 1), by MINFERENCE_CUDA_DEVICE if by nothing else")
    }
    self.ordinal = Int(ordinal)
    var version: Int32 = 0
    try driver.check("cuDriverGetVersion", driver.driverVersion(&version))
    driverVersion = Int(version)
    var characters = [CChar](repeating: 0, count: 128)
    try driver.check("cuDeviceGetName", driver.deviceName(&characters, 128, ordinal))
    name = String(
      decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    func attribute(_ number: Int32) throws -> Int {
      var value: Int32 = 0
      try driver.check("cuDeviceGetAttribute", driver.deviceAttribute(&value, number, ordinal))
      return Int(value)
    }
    // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR, _MULTIPROCESSOR_COUNT of cuda.h.
    architecture = try attribute(75) * 10 + attribute(76)
    multiprocessors = try attribute(16)
    // CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
    mapsMemory = try attribute(102) != 0
    guard architecture >= 80 else {
      throw ComputeError.unavailable(
        what: "the GPU \(name) (sm_\(architecture))",
        remedy: Remedy("the kernels need sm_80 (Ampere) or later", use: .processor))
    }
    var context: OpaquePointer?
    try driver.check("cuDevicePrimaryCtxRetain", driver.retainContext(&context, ordinal))
    self.context = context
    try driver.check("cuCtxSetCurrent", driver.setContext(context))
    var pool: OpaquePointer?
    try driver.check("cuDeviceGetDefaultMemPool", driver.defaultPool(&pool, ordinal))
    self.pool = pool
    // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: freed memory stays with the pool for the next tensor.
    var threshold = UInt64.max
    try driver.check("cuMemPoolSetAttribute", driver.setPoolAttribute(pool, 4, &threshold))
    computeStream = try Self.makeStream(driver)
    copyStream = try Self.makeStream(driver)
  }

  /// How many GPUs this process sees.
  ///
  /// - Throws: `ComputeError.unavailable` without driver.
  static func count() throws -> Int {
    let driver = try CUDADriver.load()
    let code = driver.initialize(0)
    guard code == 0 else {
      let error = driver.error("cuInit", code)
      throw ComputeError.unavailable(what: "a GPU (\(error.name))", remedy: error.remedy)
    }
    var count: Int32 = 0
    try driver.check("cuDeviceGetCount", driver.deviceCount(&count))
    return Int(count)
  }

  /// Whether this device's memory can be copied straight to another device's. Opens the way in both
  /// directions, for memory of the pools too.
  func openWay(to other: CUDADevice) throws -> Bool {
    var isOpen = true
    for (device, peer) in [(self, other), (other, self)] {
      var canAccess: Int32 = 0
      try driver.check(
        "cuDeviceCanAccessPeer",
        driver.canAccessPeer(&canAccess, Int32(device.ordinal), Int32(peer.ordinal)))
      isOpen = isOpen && canAccess != 0
    }
    guard isOpen else { return false }
    for (device, peer) in [(self, other), (other, self)] {
      try device.activate()
      let code = driver.enablePeerAccess(peer.context, 0)
      if code != Self.accessIsEnabled { try driver.check("cuCtxEnablePeerAccess", code) }
      // Memory of `peer`'s pool for `device`: CU_MEM_LOCATION_TYPE_DEVICE, its number,
      // CU_MEM_ACCESS_FLAGS_PROT_READWRITE.
      try driver.check(
        "cuMemPoolSetAccess", driver.setPoolAccess(peer.pool, [1, Int32(device.ordinal), 3], 1))
    }
    return true
  }

  /// CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
  private static let accessIsEnabled: Int32 = 704

  /// Where this thread's work goes: the compute stream, unless the thread records a step.
  var stream: OpaquePointer? { step?.recordingStream ?? computeStream }

  /// The step that this thread is in.
  var step: CUDAStep? {
    stepThread.load(ordering: .relaxed) == csystem_thread_identity() ? currentStep : nil
  }

  /// Runs body within a step; a second thread waits for its turn.
  func withStep(_ step: CUDAStep, _ body: () throws -> Void) throws {
    try stepTurn.withLock { _ in
      currentStep = step
      stepThread.store(csystem_thread_identity(), ordering: .relaxed)
      defer {
        stepThread.store(0, ordering: .relaxed)
        currentStep = nil
      }
      try body()
    }
  }

  /// The stream that steps are recorded on; nothing is ever done on it.
  func recordingStream() throws -> OpaquePointer? {
    try recorder.withLock { recorder in
      if let recorder { return OpaquePointer(bitPattern: recorder) }
      let stream = try Self.makeStream(driver)
      recorder = stream.map { UInt(bitPattern: $0) }
      return stream
    }
  }

  /// A further stream, beside the device's own.
  func makeStream() throws -> OpaquePointer? { try Self.makeStream(driver) }

  private static func makeStream(_ driver: CUDADriver) throws -> OpaquePointer? {
    var stream: OpaquePointer?
    // CU_STREAM_NON_BLOCKING
    try driver.check("cuStreamCreate", driver.createStream(&stream, 1))
    return stream
  }

  /// Makes the device current on this thread: before any other call on it.
  func activate() throws { try driver.check("cuCtxSetCurrent", driver.setContext(context)) }

  /// Waits for everything on the compute stream.
  func synchronize() throws {
    try activate()
    try driver.check("cuStreamSynchronize", driver.synchronizeStream(stream))
  }

  /// Free and total bytes of the device, the pool's unused memory counted as free.
  func memory() throws -> (free: Int, total: Int) {
    try activate()
    var free = 0
    var total = 0
    try driver.check("cuMemGetInfo", driver.memoryInfo(&free, &total))
    return (free + Int(poolAttribute(5)) - Int(poolAttribute(7)), total)
  }

  /// The most bytes that tensors have taken at once, but for keys and values in shared pieces.
  var peakBytes: Int { Int(poolAttribute(8)) }

  /// CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT 5, USED_MEM_CURRENT 7, USED_MEM_HIGH 8.
  private func poolAttribute(_ number: Int32) -> UInt64 {
    var value: UInt64 = 0
    _ = driver.poolAttribute(pool, number, &value)
    return value
  }
}
