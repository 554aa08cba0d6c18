internal import CUDASources
internal import Compute

/// The functions of `libcublasLt` that this backend calls.
struct CUBLASLt: @unchecked Sendable {
  typealias Handle = OpaquePointer?
  typealias HandlePointer = UnsafeMutablePointer<OpaquePointer?>

  let create: @convention(c) (HandlePointer) -> Int32
  let createDescription: @convention(c) (HandlePointer, Int32, Int32) -> Int32
  let destroyDescription: @convention(c) (Handle) -> Int32
  let setDescription: @convention(c) (Handle, Int32, UnsafeRawPointer, Int) -> Int32
  let createLayout: @convention(c) (HandlePointer, Int32, UInt64, UInt64, Int64) -> Int32
  let destroyLayout: @convention(c) (Handle) -> Int32
  let createPreference: @convention(c) (HandlePointer) -> Int32
  let setPreference: @convention(c) (Handle, Int32, UnsafeRawPointer, Int) -> Int32
  let destroyPreference: @convention(c) (Handle) -> Int32
  let heuristic:
    @convention(c) (
      Handle, Handle, Handle, Handle, Handle, Handle, Handle, Int32,
      UnsafeMutablePointer<mi_matmul_heuristic>, UnsafeMutablePointer<Int32>
    ) -> Int32
  let matmul:
    @convention(c) (
      Handle, Handle, UnsafeRawPointer, UInt64, Handle, UInt64, Handle, UnsafeRawPointer, UInt64,
      Handle, UInt64, Handle, UnsafeRawPointer?, UInt64, Int, Handle
    ) -> Int32
  /// 120900 for 12.9.
  let version: Int
  private let statusName: @convention(c) (Int32) -> UnsafePointer<CChar>?

  /// Opens the library. Throws `ComputeError.unavailable` if it is missing.
  init() throws {
    let library = try CUDALibraries.open("libcublasLt.so")
    func function<Function>(_ name: String) throws -> Function {
      try library.require(name, remedy: "install cuBLAS of CUDA 12 or later")
    }
    create = try function("cublasLtCreate")
    createDescription = try function("cublasLtMatmulDescCreate")
    destroyDescription = try function("cublasLtMatmulDescDestroy")
    setDescription = try function("cublasLtMatmulDescSetAttribute")
    createLayout = try function("cublasLtMatrixLayoutCreate")
    destroyLayout = try function("cublasLtMatrixLayoutDestroy")
    createPreference = try function("cublasLtMatmulPreferenceCreate")
    setPreference = try function("cublasLtMatmulPreferenceSetAttribute")
    destroyPreference = try function("cublasLtMatmulPreferenceDestroy")
    heuristic = try function("cublasLtMatmulAlgoGetHeuristic")
    matmul = try function("cublasLtMatmul")
    statusName = try function("cublasLtGetStatusName")
    let getVersion: @convention(c) () -> Int = try function("cublasLtGetVersion")
    version = getVersion()
  }

  func check(_ call: String, _ code: Int32) throws {
    guard code != 0 else { return }
    throw CUDAError(
      call: call, name: statusName(code).map { String(cString: $0) } ?? "status \(code)",
      detail: "cuBLASLt", remedy: "update cuBLAS, or report it with the shape of the model")
  }
}
