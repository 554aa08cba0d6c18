internal import Compute

/// The functions of `libnccl` that links between processes call, under their names there.
struct NCCL: @unchecked Sendable {
  typealias Communicator = OpaquePointer?

  let version: Int
  let uniqueID: @convention(c) (UnsafeMutableRawPointer) -> Int32
  /// `ncclCommInitRankScalable`, which takes identifiers by their address.
  let initialize:
    @convention(c) (
      UnsafeMutablePointer<Communicator>, Int32, Int32, Int32, UnsafeRawPointer,
      UnsafeMutableRawPointer?
    ) -> Int32
  let send: @convention(c) (UInt64, Int, Int32, Int32, Communicator, OpaquePointer?) -> Int32
  let receive: @convention(c) (UInt64, Int, Int32, Int32, Communicator, OpaquePointer?) -> Int32
  let abort: @convention(c) (Communicator) -> Int32
  let errorString: @convention(c) (Int32) -> UnsafePointer<CChar>?

  /// Bytes of `ncclUniqueId`.
  static let identifierBytes = 128
  /// `ncclUint8`
  static let bytes: Int32 = 1

  /// Variables of NCCL, where the user sets none: NVLink multicast is of no use between two processes, and
  /// a few blocks of threads carry hidden states, so that the rest of the GPU computes.
  private static let defaults = ["NCCL_NVLS_ENABLE": "0", "NCCL_MAX_P2P_NCHANNELS": "4"]

  /// - Throws: `ComputeError.unavailable` without the library, or with one before 2.23.
  static func load() throws -> NCCL {
    let remedy = Remedy(
      "install NCCL 2.23 or later (apt-get install libnccl2, or pip install nvidia-nccl-cu13) and name "
        + "its directory in \(CUDALibraries.variable)")
    HostSystem.setDefaults(defaults)
    let library = try CUDALibraries.openCollectives(remedy: remedy)
    func function<Function>(_ name: String) throws -> Function {
      try library.require(name, remedy: remedy)
    }
    let getVersion: @convention(c) (UnsafeMutablePointer<Int32>) -> Int32 =
      try function("ncclGetVersion")
    var version: Int32 = 0
    _ = getVersion(&version)
    return NCCL(
      version: Int(version), uniqueID: try function("ncclGetUniqueId"),
      initialize: try function("ncclCommInitRankScalable"), send: try function("ncclSend"),
      receive: try function("ncclRecv"), abort: try function("ncclCommAbort"),
      errorString: try function("ncclGetErrorString"))
  }

  /// Throws ``CUDAError`` unless `code` is success.
  func check(_ call: String, _ code: Int32) throws {
    guard code != 0 else { return }
    throw CUDAError(
      call: call, name: "error \(code)",
      detail: errorString(code).map { String(cString: $0) } ?? "",
      remedy: "set NCCL_DEBUG=INFO to see what NCCL says, and see that no process has ended")
  }
}
