internal import CSystemCalls
internal import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `cblas_sgemm` of OpenBLAS (or Accelerate on Apple systems), opened at run time.
package struct OpenBLAS: Sendable {
  /// order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
  typealias SGEMM =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
      UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
    ) -> Void

  let sgemm: SGEMM
  /// The library's own word for the kernels that it chose.
  let kernelName: String
  /// The library's file, its version and how it was built, as far as it says.
  let description: String
  /// What the user should know of the environment, one line each.
  let notices: [String]

  static let remedy = Remedy(
    "install it with `apt-get install libopenblas0-pthread` (macOS has its own); until then "
      + "linear layers run on built-in code, which is slow")

  /// What the library maps when it is loaded, and again for each thread that multiplies.
  private static let bufferBytes = 128 << 20
  /// Beside these: the library itself, scratch memory and the thread's own arenas.
  private static let otherBytes = 192 << 20

  /// Loads the library once for the process.
  ///
  /// - Parameters:
  ///   - avx512: Whether the processor has AVX-512.
  ///   - threads: Threads that will multiply.
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` without the library;
  ///   ``ComputeError/outOfMemory(wantedBytes:purpose:)`` where the process's memory is limited so that
  ///   the library would wait for its buffers without end.
  ///
  /// Two settings hold for the whole process, other users of the library included: it runs each call on
  /// one thread, and OPENBLAS_CORETYPE is set where it was not and the processor has AVX-512.
  static func load(avx512: Bool, threads: Int) throws -> OpenBLAS {
    try requireBuffers(threads: threads)
    #if canImport(Darwin)
      let names = ["/System/Library/Frameworks/Accelerate.framework/Accelerate"]
    #else
      let names = ["libopenblas.so.0", "libopenblas.so"]
      // Versions before 0.3.22 do not know processors newer than themselves and may fall back to
      // 256-bit kernels, at half of the rate; a choice that the user made stands.
      let given = Self.variable("OPENBLAS_CORETYPE")
      if avx512 { setenv("OPENBLAS_CORETYPE", "SkylakeX", 0) }
    #endif
    let library = try DynamicLibrary(oneOf: names, remedy: remedy)
    guard let sgemm = library.function("cblas_sgemm", as: SGEMM.self) else {
      throw ComputeError.unavailable(what: "cblas_sgemm in \(library.name)", remedy: remedy)
    }
    // Rows are divided over this backend's own threads; each call runs on the thread that makes it.
    typealias SetThreads = @convention(c) (Int32) -> Void
    library.function("openblas_set_num_threads", as: SetThreads.self)?(1)
    typealias CoreName = @convention(c) () -> UnsafePointer<CChar>?
    let coreName = library.function("openblas_get_corename", as: CoreName.self)?()
    let kernelName = coreName.map { String(cString: $0) } ?? "Accelerate"
    let configuration = library.function("openblas_get_config", as: CoreName.self)?()
      .map { String(cString: $0) }
    // 0: no threads, 1: the library's own, 2: OpenMP's.
    typealias Parallel = @convention(c) () -> Int32
    let usesOpenMP = library.function("openblas_get_parallel", as: Parallel.self)?() == 2
    #if canImport(Darwin)
      let notices: [String] = []
    #else
      let notices = slowing(
        coreType: given, kernelName: kernelName, avx512: avx512, usesOpenMP: usesOpenMP,
        threads: Self.variable("OPENBLAS_NUM_THREADS"),
        openMPThreads: Self.variable("OMP_NUM_THREADS"))
    #endif
    return OpenBLAS(
      sgemm: sgemm, kernelName: kernelName,
      description: ([library.name, "kernels \(kernelName)"] + (configuration.map { [$0] } ?? []))
        .joined(separator: ", "),
      notices: notices)
  }

  private static func variable(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
  }

  /// A line for each variable of the environment that makes products slower than they need be.
  ///
  /// Rows are divided over this backend's threads, and each calls the library, which should then
  /// compute on that thread alone. The library's own threads are switched off for the whole process,
  /// whatever OPENBLAS_NUM_THREADS and OMP_NUM_THREADS say; OpenMP's only for the thread that asks.
  package static func slowing(
    coreType: String?, kernelName: String, avx512: Bool, usesOpenMP: Bool, threads: String?,
    openMPThreads: String?
  ) -> [String] {
    var notices: [String] = []
    let wide = ["skylakex", "cooperlake", "sapphirerapids", "zen4", "zen5"]
    if let coreType, !avx512 || !wide.contains(kernelName.lowercased()) {
      notices.append(
        "OPENBLAS_CORETYPE is \(coreType): OpenBLAS computes with its kernels for \(kernelName), which "
          + "may be slower than what it chooses itself; unset it")
    }
    if usesOpenMP, openMPThreads != "1" {
      let given = [("OMP_NUM_THREADS", openMPThreads), ("OPENBLAS_NUM_THREADS", threads)]
        .compactMap { name, value in value.map { "\(name) is \($0)" } }
      notices.append(
        (given.isEmpty ? "OMP_NUM_THREADS is not set" : given.joined(separator: " and "))
          + ", and this OpenBLAS is built with OpenMP: every thread that computes starts threads of its "
          + "own, which is slow; set OMP_NUM_THREADS=1, or install libopenblas0-pthread")
    }
    return notices
  }

  private static func requireBuffers(threads: Int) throws {
    guard csystem_memory_is_limited() else { return }
    let bytes = (1 + threads) * bufferBytes + otherBytes
    guard csystem_can_map(bytes) else {
      throw ComputeError.outOfMemory(
        wantedBytes: bytes,
        purpose: "OpenBLAS on \(threads) threads, for this process's memory is limited (ulimit -v, "
          + "ulimit -d): raise the limit")
    }
  }

  /// c (+)= a * transpose(b). a: [m, k] with rows lda apart; b: [n, k]; c: [m, n] with rows ldc.
  func multiply(
    m: Int, n: Int, k: Int, a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
    c: UnsafeMutablePointer<Float>, ldc: Int, accumulate: Bool
  ) {
    let rowMajor: Int32 = 101
    let plain: Int32 = 111
    let transposed: Int32 = 112
    sgemm(
      rowMajor, plain, transposed, Int32(m), Int32(n), Int32(k), 1, a, Int32(lda), b, Int32(ldb),
      accumulate ? 1 : 0, c, Int32(ldc))
  }
}
