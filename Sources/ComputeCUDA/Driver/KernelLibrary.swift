internal import Compute
internal import Synchronization

/// The kernels of one GPU: compiled or fetched from the cache at first use, file by file.
final class KernelLibrary: @unchecked Sendable {
  private let device: CUDADevice
  private let cache: KernelCache
  private let state = Mutex(State())

  /// Two files may have functions of one name.
  private struct KernelName: Hashable {
    let file: String
    let name: String
  }

  private struct State {
    var compiler: NVRTC?
    var modules: [String: OpaquePointer] = [:]
    var functions: [KernelName: Kernel] = [:]
    /// Files that were compiled, and not fetched from the cache.
    var compiled = 0
    var onCompilation: (@Sendable (KernelCompilation) -> Void)?
    var notices: [String] = []
  }

  init(device: CUDADevice, cache: KernelCache = KernelCache()) {
    self.device = device
    self.cache = cache
  }

  /// What the user should know: a cache that cannot be written.
  var notices: [String] { state.withLock(\.notices) }

  /// Called before a file is compiled, on the thread that needs it; must not use the library.
  func onCompilation(_ body: (@Sendable (KernelCompilation) -> Void)?) {
    state.withLock { $0.onCompilation = body }
  }

  /// Kernel files that run on the device.
  private static func files(on device: CUDADevice) -> Int {
    KernelSource.kernels.count { $0.target(architecture: device.architecture) != nil }
  }

  /// The function `name` of the file `file` ("attention.cu").
  ///
  /// - Throws: ``CUDAError`` with the log if the file does not compile;
  ///   `ComputeError.unavailable` without NVRTC.
  func kernel(_ name: String, in file: String) throws -> Kernel {
    try state.withLock { state in
      let key = KernelName(file: file, name: name)
      if let kernel = state.functions[key] { return kernel }
      let module = try module(file, state: &state)
      var function: OpaquePointer?
      try device.driver.check(
        "cuModuleGetFunction(\(name))", device.driver.moduleFunction(&function, module, name))
      let kernel = Kernel(device: device, name: name, function: function)
      state.functions[key] = kernel
      return kernel
    }
  }

  private func module(_ file: String, state: inout State) throws -> OpaquePointer {
    if let module = state.modules[file] { return module }
    guard let source = KernelSource.kernels.first(where: { $0.name == file }),
      let target = source.target(architecture: device.architecture)
    else {
      throw ComputeError.unavailable(
        what: "\(file) on sm_\(device.architecture)", remedy: "use a GPU that it is made for")
    }
    let key =
      source.name + "." + target + "."
      + String(source.fingerprint([target, "\(device.driverVersion)"]), radix: 16)
    try device.activate()
    if let code = cache.load(key), let module = try? load(code, file) {
      state.modules[file] = module
      return module
    }
    let compiler = try state.compiler ?? NVRTC()
    state.compiler = compiler
    state.compiled += 1
    state.onCompilation?(
      KernelCompilation(file: file, number: state.compiled, files: Self.files(on: device)))
    let code = try compiler.compile(source, architecture: target)
    let module = try load(code, file)
    if let notice = cache.store(code, as: key), !state.notices.contains(notice) {
      state.notices.append(notice)
    }
    state.modules[file] = module
    return module
  }

  private func load(_ code: [UInt8], _ file: String) throws -> OpaquePointer {
    var module: OpaquePointer?
    try code.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      try device.driver.check(
        "cuModuleLoadDataEx(\(file))", device.driver.loadModule(&module, start, 0, nil, nil))
    }
    guard let module else { throw device.driver.error("cuModuleLoadDataEx(\(file))", 200) }
    return module
  }
}

/// A kernel file that is about to be compiled, which takes seconds and happens once for a machine.
public struct KernelCompilation: Sendable, Hashable, CustomStringConvertible {
  /// The file's name: `attention.cu`.
  public let file: String
  /// Files compiled by this process so far, this one included.
  public let number: Int
  /// Files that there are for the GPU. A model needs some of them, and what is in the cache is not
  /// compiled.
  public let files: Int

  public var description: String { "compiling GPU kernels (\(number) of at most \(files))" }
}

/// One kernel, ready to be launched on the device's compute stream.
final class Kernel: @unchecked Sendable {
  private let device: CUDADevice
  let name: String
  private let function: OpaquePointer?
  private let sharedLimit = Mutex(48 << 10)

  init(device: CUDADevice, name: String, function: OpaquePointer?) {
    self.device = device
    self.name = name
    self.function = function
  }

  /// Runs `grid` blocks of `block` threads with `shared` bytes of dynamic shared memory.
  func launch(
    grid: (Int, Int, Int), block: Int, shared: Int = 0, _ arguments: KernelArguments
  ) throws {
    guard grid.0 > 0, grid.1 > 0, grid.2 > 0 else { return }
    try device.activate()
    try sharedLimit.withLock { limit in
      guard shared > limit else { return }
      // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
      try device.driver.check(
        "cuFuncSetAttribute(\(name))",
        device.driver.setFunctionAttribute(function, 8, Int32(shared))
      )
      limit = shared
    }
    try arguments.withPointers { pointers in
      try device.driver.check(
        "cuLaunchKernel(\(name))",
        device.driver.launch(
          function, UInt32(grid.0), UInt32(grid.1), UInt32(grid.2), UInt32(block), 1, 1,
          UInt32(shared), device.stream, pointers, nil))
    }
  }
}

/// The values of a kernel's parameters, in order.
struct KernelArguments {
  private var bytes: [UInt8] = []
  private var offsets: [Int] = []

  init() {}

  mutating func add<Value>(_ value: Value) {
    // The driver copies each value from where its pointer points; 64 bytes suit every type here.
    bytes += [UInt8](repeating: 0, count: (64 - bytes.count % 64) % 64)
    offsets.append(bytes.count)
    withUnsafeBytes(of: value) { bytes += $0 }
  }

  fileprivate func withPointers(
    _ body: (UnsafeMutablePointer<UnsafeMutableRawPointer?>?) throws -> Void
  ) throws {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(bytes.count, 1), alignment: 64)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    let start = memory.baseAddress
    var pointers = offsets.map { offset in start.map { $0 + offset } }
    try pointers.withUnsafeMutableBufferPointer { try body($0.baseAddress) }
  }
}
