internal import Compute

/// The functions of `libcuda` that this backend calls, under their names there.
///
/// Handles are opaque pointers, device addresses 64-bit integers. Every function returns the
/// driver's error number; ``check(_:_:)`` turns it into an error.
struct CUDADriver: @unchecked Sendable {
  typealias Handle = OpaquePointer?
  typealias HandlePointer = UnsafeMutablePointer<OpaquePointer?>
  typealias Address = UInt64

  let initialize: @convention(c) (UInt32) -> Int32
  let driverVersion: @convention(c) (UnsafeMutablePointer<Int32>) -> Int32
  let errorName: @convention(c) (Int32, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Int32
  let errorString: @convention(c) (Int32, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Int32
  let deviceCount: @convention(c) (UnsafeMutablePointer<Int32>) -> Int32
  let deviceName: @convention(c) (UnsafeMutablePointer<CChar>, Int32, Int32) -> Int32
  let deviceAttribute: @convention(c) (UnsafeMutablePointer<Int32>, Int32, Int32) -> Int32
  let retainContext: @convention(c) (HandlePointer, Int32) -> Int32
  let setContext: @convention(c) (Handle) -> Int32
  let memoryInfo: @convention(c) (UnsafeMutablePointer<Int>, UnsafeMutablePointer<Int>) -> Int32
  let defaultPool: @convention(c) (HandlePointer, Int32) -> Int32
  let setPoolAttribute: @convention(c) (Handle, Int32, UnsafeMutableRawPointer) -> Int32
  let poolAttribute: @convention(c) (Handle, Int32, UnsafeMutableRawPointer) -> Int32
  let trimPool: @convention(c) (Handle, Int) -> Int32
  let allocate: @convention(c) (UnsafeMutablePointer<Address>, Int, Handle) -> Int32
  let free: @convention(c) (Address, Handle) -> Int32
  let allocateHost:
    @convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>, Int, UInt32) -> Int32
  let freeHost: @convention(c) (UnsafeMutableRawPointer) -> Int32
  let copyToDevice: @convention(c) (Address, UnsafeRawPointer, Int, Handle) -> Int32
  let copyToHost: @convention(c) (UnsafeMutableRawPointer, Address, Int, Handle) -> Int32
  let copyOnDevice: @convention(c) (Address, Address, Int, Handle) -> Int32
  let canAccessPeer: @convention(c) (UnsafeMutablePointer<Int32>, Int32, Int32) -> Int32
  let enablePeerAccess: @convention(c) (Handle, UInt32) -> Int32
  /// An array of `CUmemAccessDesc`, three 32-bit integers each.
  let setPoolAccess: @convention(c) (Handle, UnsafePointer<Int32>, Int) -> Int32
  let copyToPeer: @convention(c) (Address, Handle, Address, Handle, Int, Handle) -> Int32
  /// Properties are those of `CUmemAllocationProp`, four 64-bit words.
  let allocationGranularity:
    @convention(c) (UnsafeMutablePointer<Int>, UnsafePointer<UInt64>, Int32) -> Int32
  let createMemory:
    @convention(c) (UnsafeMutablePointer<UInt64>, Int, UnsafePointer<UInt64>, UInt64) -> Int32
  let releaseMemory: @convention(c) (UInt64) -> Int32
  let reserveAddresses:
    @convention(c) (UnsafeMutablePointer<Address>, Int, Int, Address, UInt64) -> Int32
  let freeAddresses: @convention(c) (Address, Int) -> Int32
  let mapMemory: @convention(c) (Address, Int, Int, UInt64, UInt64) -> Int32
  let unmapMemory: @convention(c) (Address, Int) -> Int32
  /// An array of `CUmemAccessDesc`, three 32-bit integers each.
  let setAccess: @convention(c) (Address, Int, UnsafePointer<Int32>, Int) -> Int32
  let setBytes: @convention(c) (Address, UInt8, Int, Handle) -> Int32
  let createStream: @convention(c) (HandlePointer, UInt32) -> Int32
  let synchronizeStream: @convention(c) (Handle) -> Int32
  let waitForEvent: @convention(c) (Handle, Handle, UInt32) -> Int32
  let createEvent: @convention(c) (HandlePointer, UInt32) -> Int32
  let recordEvent: @convention(c) (Handle, Handle) -> Int32
  let synchronizeEvent: @convention(c) (Handle) -> Int32
  let elapsedTime: @convention(c) (UnsafeMutablePointer<Float>, Handle, Handle) -> Int32
  let destroyEvent: @convention(c) (Handle) -> Int32
  let loadModule:
    @convention(c) (
      HandlePointer, UnsafeRawPointer, UInt32, UnsafeMutablePointer<Int32>?,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Int32
  let moduleFunction: @convention(c) (HandlePointer, Handle, UnsafePointer<CChar>) -> Int32
  let setFunctionAttribute: @convention(c) (Handle, Int32, Int32) -> Int32
  let launch:
    @convention(c) (
      Handle, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, Handle,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Int32
  /// nil before CUDA 11.8: a launch with attributes.
  let launchExtended: LaunchExtended?
  let beginCapture: @convention(c) (Handle, Int32) -> Int32
  let endCapture: @convention(c) (Handle, HandlePointer) -> Int32
  let instantiateGraph: @convention(c) (HandlePointer, Handle, UInt64) -> Int32
  let launchGraph: @convention(c) (Handle, Handle) -> Int32
  let destroyGraph: @convention(c) (Handle) -> Int32
  let destroyExecutableGraph: @convention(c) (Handle) -> Int32
  /// nil before CUDA 12: only Hopper's kernels need it.
  let encodeTensorMap: EncodeTensorMap?

  typealias LaunchExtended =
    @convention(c) (
      UnsafeRawPointer, Handle, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Int32

  typealias EncodeTensorMap =
    @convention(c) (
      UnsafeMutableRawPointer, Int32, UInt32, UnsafeMutableRawPointer,
      UnsafePointer<UInt64>, UnsafePointer<UInt64>, UnsafePointer<UInt32>, UnsafePointer<UInt32>,
      Int32, Int32, Int32, Int32
    ) -> Int32

  private static func openLibrary() throws -> DynamicLibrary {
    try DynamicLibrary(
      oneOf: ["libcuda.so.1", "libcuda.so"],
      remedy: Remedy("install the NVIDIA driver", use: .processor))
  }

  static var isInstalled: Bool { (try? openLibrary()) != nil }

  /// Opens the driver. Throws `ComputeError.unavailable` if there is none or it is too old.
  static func load() throws -> CUDADriver {
    let library = try openLibrary()
    func function<Function>(_ name: String) throws -> Function {
      try library.require(name, remedy: "update the NVIDIA driver to 525 or later")
    }
    return CUDADriver(
      initialize: try function("cuInit"), driverVersion: try function("cuDriverGetVersion"),
      errorName: try function("cuGetErrorName"), errorString: try function("cuGetErrorString"),
      deviceCount: try function("cuDeviceGetCount"), deviceName: try function("cuDeviceGetName"),
      deviceAttribute: try function("cuDeviceGetAttribute"),
      retainContext: try function("cuDevicePrimaryCtxRetain"),
      setContext: try function("cuCtxSetCurrent"), memoryInfo: try function("cuMemGetInfo_v2"),
      defaultPool: try function("cuDeviceGetDefaultMemPool"),
      setPoolAttribute: try function("cuMemPoolSetAttribute"),
      poolAttribute: try function("cuMemPoolGetAttribute"),
      trimPool: try function("cuMemPoolTrimTo"), allocate: try function("cuMemAllocAsync"),
      free: try function("cuMemFreeAsync"), allocateHost: try function("cuMemHostAlloc"),
      freeHost: try function("cuMemFreeHost"), copyToDevice: try function("cuMemcpyHtoDAsync_v2"),
      copyToHost: try function("cuMemcpyDtoHAsync_v2"),
      copyOnDevice: try function("cuMemcpyDtoDAsync_v2"),
      canAccessPeer: try function("cuDeviceCanAccessPeer"),
      enablePeerAccess: try function("cuCtxEnablePeerAccess"),
      setPoolAccess: try function("cuMemPoolSetAccess"),
      copyToPeer: try function("cuMemcpyPeerAsync"),
      allocationGranularity: try function("cuMemGetAllocationGranularity"),
      createMemory: try function("cuMemCreate"), releaseMemory: try function("cuMemRelease"),
      reserveAddresses: try function("cuMemAddressReserve"),
      freeAddresses: try function("cuMemAddressFree"), mapMemory: try function("cuMemMap"),
      unmapMemory: try function("cuMemUnmap"), setAccess: try function("cuMemSetAccess"),
      setBytes: try function("cuMemsetD8Async"), createStream: try function("cuStreamCreate"),
      synchronizeStream: try function("cuStreamSynchronize"),
      waitForEvent: try function("cuStreamWaitEvent"), createEvent: try function("cuEventCreate"),
      recordEvent: try function("cuEventRecord"),
      synchronizeEvent: try function("cuEventSynchronize"),
      elapsedTime: try function("cuEventElapsedTime"),
      destroyEvent: try function("cuEventDestroy_v2"),
      loadModule: try function("cuModuleLoadDataEx"),
      moduleFunction: try function("cuModuleGetFunction"),
      setFunctionAttribute: try function("cuFuncSetAttribute"),
      launch: try function("cuLaunchKernel"),
      launchExtended: library.function("cuLaunchKernelEx", as: LaunchExtended.self),
      beginCapture: try function("cuStreamBeginCapture_v2"),
      endCapture: try function("cuStreamEndCapture"),
      instantiateGraph: try function("cuGraphInstantiateWithFlags"),
      launchGraph: try function("cuGraphLaunch"), destroyGraph: try function("cuGraphDestroy"),
      destroyExecutableGraph: try function("cuGraphExecDestroy"),
      encodeTensorMap: library.function("cuTensorMapEncodeTiled", as: EncodeTensorMap.self))
  }

  /// Throws ``CUDAError`` unless `code` is success.
  func check(_ call: @autoclosure () -> String, _ code: Int32) throws {
    guard code != 0 else { return }
    throw error(call(), code)
  }

  func error(_ call: String, _ code: Int32) -> CUDAError {
    func text(
      _ function: @convention(c) (Int32, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Int32
    ) -> String {
      var pointer: UnsafePointer<CChar>?
      guard function(code, &pointer) == 0, let pointer else { return "error \(code)" }
      return String(cString: pointer)
    }
    return CUDAError(
      call: call, name: text(errorName), detail: text(errorString),
      remedy: CUDAError.remedy(ofDriverError: code))
  }
}
