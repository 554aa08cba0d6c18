internal import CUDASources
internal import Compute
internal import StoredNumbers
internal import Synchronization

/// The kernels of one GPU: compiled or fetched from the cache at first use, file by file.
final class KernelLibrary: @unchecked Sendable {
  private let device: CUDADevice
  private let cache: KernelCache
  private let state = Mutex(State())

  /// Two files may have functions of one name.
  private struct KernelName: Hashable {
    let module: ModuleName
    let name: String
  }

  /// A file, or the part of it that is for one format of blocks.
  private struct ModuleName: Hashable {
    let file: String
    let format: BlockFormat?

    /// What the compiler is told beside ``KernelSource/options``.
    var options: [String] {
      guard let format else { return [] }
      return ["-DMI_FORMAT=\(format.kernelName)", "-DMI_FORMAT_TYPE=\(format.rawValue)"]
    }
  }

  private struct State {
    var compiler: NVRTC?
    var modules: [ModuleName: OpaquePointer] = [:]
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
      + KernelSource.kernelsOfFormats * (BlockFormat.allCases.count - 1)
  }

  /// The function `name` of the file `file` ("attention.cu").
  ///
  /// - Parameter format: The format of blocks that the function is for, where the file has functions for each:
  ///   those for others are not compiled.
  /// - Throws: ``CUDAError`` with the log if the file does not compile;
  ///   `ComputeError.unavailable` without NVRTC.
  func kernel(_ name: String, in file: String, for format: BlockFormat? = nil) throws -> Kernel {
    try state.withLock { state in
      let key = KernelName(module: ModuleName(file: file, format: format), name: name)
      if let kernel = state.functions[key] { return kernel }
      let module = try module(key.module, state: &state)
      var function: OpaquePointer?
      try device.driver.check(
        "cuModuleGetFunction(\(name))", device.driver.moduleFunction(&function, module, name))
      let kernel = Kernel(device: device, name: name, function: function)
      state.functions[key] = kernel
      return kernel
    }
  }

  private func module(_ name: ModuleName, state: inout State) throws -> OpaquePointer {
    if let module = state.modules[name] { return module }
    let file = name.file
    guard let source = KernelSource.kernels.first(where: { $0.name == file }),
      let target = source.target(architecture: device.architecture)
    else {
      throw ComputeError.unavailable(
        what: "\(file) on sm_\(device.architecture)", remedy: "use a GPU that it is made for")
    }
    let prefix = source.cachePrefix(
      target: target, driver: device.driverVersion, options: name.options)
    try device.activate()
    let opened = Result { try state.compiler ?? NVRTC() }
    if case .success(let compiler) = opened { state.compiler = compiler }
    // Without NVRTC what any version compiled will do.
    let keys =
      switch opened {
      case .success(let compiler): [prefix + "\(compiler.version)"]
      case .failure: cache.keys(withPrefix: prefix)
      }
    for key in keys {
      if let code = cache.load(key), let module = try? load(code, file) {
        state.modules[name] = module
        return module
      }
    }
    let compiler = try opened.get()
    state.compiled += 1
    let compilation = KernelCompilation(
      file: file, number: state.compiled, files: Self.files(on: device))
    state.onCompilation?(compilation)
    KernelCompilation.observer.withLock(\.self)?(compilation)
    let code = try compiler.compile(source, architecture: target, options: name.options)
    let module = try load(code, file)
    let notice = cache.store(code, as: prefix + "\(compiler.version)")
    if let notice, !state.notices.contains(notice) {
      state.notices.append(notice)
    }
    state.modules[name] = module
    return module
  }

  /// The version of NVRTC, which is opened for it where that has not happened.
  ///
  /// - Throws: `ComputeError.unavailable` without it.
  func compilerVersion() throws -> Int {
    try state.withLock { state in
      let compiler = try state.compiler ?? NVRTC()
      state.compiler = compiler
      return compiler.version
    }
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

  /// Told of compilations of all devices of this process.
  static let observer = Mutex<(@Sendable (KernelCompilation) -> Void)?>(nil)

  /// Calls `body` before any device of this process compiles a file, on the thread that needs it; it must
  /// not use a backend. nil: nobody is told.
  public static func onCompilation(_ body: (@Sendable (KernelCompilation) -> Void)?) {
    observer.withLock { $0 = body }
  }

  public var description: String { "compiling GPU kernels (\(number) of at most \(files))" }
}

/// One kernel, ready to be launched on the device's compute stream.
final class Kernel: @unchecked Sendable {
  private let device: CUDADevice
  let name: String
  private let function: OpaquePointer?
  private let sharedLimit = Mutex(48 << 10)

  /// CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
  private static let programmaticStreamSerialization: Int32 = 6

  init(device: CUDADevice, name: String, function: OpaquePointer?) {
    self.device = device
    self.name = name
    self.function = function
  }

  /// Runs `grid` blocks of `block` threads with `shared` bytes of dynamic shared memory.
  ///
  /// - Parameter overlapsPrevious: The kernel may begin before the one in front has ended, where the GPU can do
  ///   that: it waits for it by itself (`dependent_launch.cuh`).
  func launch(
    grid: (Int, Int, Int), block: Int, shared: Int = 0, overlapsPrevious: Bool = false,
    _ arguments: KernelArguments
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
      if overlapsPrevious, device.overlapsKernels, let launch = device.driver.launchExtended {
        var attribute = mi_launch_attribute()
        attribute.identifier = Self.programmaticStreamSerialization
        attribute.value.0 = 1
        return try withUnsafeMutablePointer(to: &attribute) { attribute in
          var configuration = mi_launch_configuration()
          configuration.grid = (UInt32(grid.0), UInt32(grid.1), UInt32(grid.2))
          configuration.block = (UInt32(block), 1, 1)
          configuration.shared_bytes = UInt32(shared)
          configuration.stream = UnsafeMutableRawPointer(device.stream)
          configuration.attributes = attribute
          configuration.attribute_count = 1
          try device.driver.check(
            "cuLaunchKernelEx(\(name))", launch(&configuration, function, pointers, nil))
        }
      }
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
