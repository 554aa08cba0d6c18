internal import CUDASources
internal import Compute

/// NVIDIA's run-time compiler.
///
/// Needs no GPU: kernels are compiled for any architecture on any machine.
package struct NVRTC: @unchecked Sendable {
  private typealias Handle = OpaquePointer?
  private typealias Text = UnsafePointer<CChar>?

  private let create:
    @convention(c) (
      UnsafeMutablePointer<OpaquePointer?>, UnsafePointer<CChar>, UnsafePointer<CChar>, Int32,
      UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<UnsafePointer<CChar>?>
    ) -> Int32
  private let compileProgram:
    @convention(c) (OpaquePointer?, Int32, UnsafePointer<UnsafePointer<CChar>?>) -> Int32
  private let logSize: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int>) -> Int32
  private let log: @convention(c) (OpaquePointer?, UnsafeMutablePointer<CChar>) -> Int32
  private let codeSize: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int>) -> Int32
  private let code: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer) -> Int32
  private let destroy: @convention(c) (UnsafeMutablePointer<OpaquePointer?>) -> Int32
  private let errorString: @convention(c) (Int32) -> UnsafePointer<CChar>?
  /// 13000 for 13.0.
  package let version: Int

  /// Opens the library. Throws `ComputeError.unavailable` if it is missing.
  package init() throws {
    let library = try CUDALibraries.open("libnvrtc.so")
    func function<Function>(_ name: String) throws -> Function {
      try library.require(name, remedy: "install NVRTC of CUDA 12 or later")
    }
    create = try function("nvrtcCreateProgram")
    compileProgram = try function("nvrtcCompileProgram")
    logSize = try function("nvrtcGetProgramLogSize")
    log = try function("nvrtcGetProgramLog")
    codeSize = try function("nvrtcGetCUBINSize")
    code = try function("nvrtcGetCUBIN")
    destroy = try function("nvrtcDestroyProgram")
    errorString = try function("nvrtcGetErrorString")
    typealias Version =
      @convention(c) (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32
    let versionFunction: Version = try function("nvrtcVersion")
    var major: Int32 = 0
    var minor: Int32 = 0
    _ = versionFunction(&major, &minor)
    version = Int(major) * 1000 + Int(minor) * 10
  }

  /// Machine code of a kernel file for an architecture: "sm_80", "sm_90a".
  ///
  /// - Throws: ``CUDAError`` with the compiler's log.
  package func compile(
    _ source: KernelSource, architecture: String, options more: [String] = []
  ) throws -> [UInt8] {
    let headers = KernelSource.headers
    var program: OpaquePointer?
    let texts = headers.map { Optional($0.text) }
    let names = headers.map { Optional($0.cName) }
    let created = create(
      &program, source.text, source.cName, Int32(headers.count), texts, names)
    guard created == 0 else { throw error("nvrtcCreateProgram", created, source, log: "") }
    defer { _ = destroy(&program) }
    let options = KernelSource.options + more + ["--gpu-architecture=\(architecture)"]
    let result = Self.withCStrings(options) { compileProgram(program, Int32(options.count), $0) }
    guard result == 0 else {
      var size = 0
      _ = logSize(program, &size)
      var text = [CChar](repeating: 0, count: size + 1)
      _ = log(program, &text)
      let message = String(
        decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw error("nvrtcCompileProgram", result, source, log: message)
    }
    var size = 0
    var bytes: [UInt8] = []
    let sized = codeSize(program, &size)
    bytes = [UInt8](repeating: 0, count: size)
    let copied = bytes.withUnsafeMutableBytes { buffer in
      buffer.baseAddress.map { code(program, $0) } ?? 0
    }
    guard sized == 0, size > 0, copied == 0 else {
      throw error("nvrtcGetCUBIN", sized == 0 ? copied : sized, source, log: "no code")
    }
    return bytes
  }

  /// Calls `body` with pointers to the texts, each ended by a zero byte.
  private static func withCStrings<Result>(
    _ texts: [String], _ body: ([UnsafePointer<CChar>?]) -> Result
  ) -> Result {
    var characters: [CChar] = []
    var offsets: [Int] = []
    for text in texts {
      offsets.append(characters.count)
      characters += text.utf8CString
    }
    return characters.withUnsafeBufferPointer { buffer in
      body(offsets.map { offset in buffer.baseAddress.map { $0 + offset } })
    }
  }

  private func error(
    _ call: String, _ result: Int32, _ source: KernelSource, log: String
  ) -> CUDAError {
    let name = errorString(result).map { String(cString: $0) } ?? "error \(result)"
    return CUDAError(
      call: "\(call) of \(source.name)", name: name, detail: log,
      remedy: Remedy(
        "try another version of NVRTC (this is \(version / 1000).\(version % 1000 / 10)), or "
          + "report it with this log"))
  }
}
