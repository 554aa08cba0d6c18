internal import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `cblas_sgemm` of OpenBLAS (or Accelerate on Apple systems), opened at run time.
struct OpenBLAS: Sendable {
  /// order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
  typealias SGEMM =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
      UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
    ) -> Void

  let sgemm: SGEMM
  /// The library's own word for the kernels that it chose.
  let kernelName: String

  static let remedy = Remedy(
    "install it with `apt-get install libopenblas0-pthread` (macOS has its own); until then "
      + "linear layers run on built-in code, which is slow")

  /// Loads the library once for the process. Throws ``ComputeError/unavailable(what:remedy:)``.
  ///
  /// Two settings hold for the whole process, other users of the library included: it runs each call on
  /// one thread, and OPENBLAS_CORETYPE is set where it was not and the processor has AVX-512.
  static func load(avx512: Bool) throws -> OpenBLAS {
    #if canImport(Darwin)
      let names = ["/System/Library/Frameworks/Accelerate.framework/Accelerate"]
    #else
      let names = ["libopenblas.so.0", "libopenblas.so"]
      // Versions before 0.3.22 do not know processors newer than themselves and may fall back to
      // 256-bit kernels, at half of the rate; a choice that the user made stands.
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
    return OpenBLAS(sgemm: sgemm, kernelName: coreName.map { String(cString: $0) } ?? "Accelerate")
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
