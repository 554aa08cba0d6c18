import ComputeCPU
import Testing

/// What the environment does to OpenBLAS.
@Suite struct OpenBLASTests {
  private func slowing(
    coreType: String? = nil, kernels: String = "SkylakeX", avx512: Bool = true,
    openMP: Bool = false, threads: String? = nil, openMPThreads: String? = nil
  ) -> [String] {
    OpenBLAS.slowing(
      coreType: coreType, kernelName: kernels, avx512: avx512, usesOpenMP: openMP,
      threads: threads, openMPThreads: openMPThreads)
  }

  @Test func `nothing is said where nothing is set`() {
    #expect(slowing() == [])
    #expect(slowing(kernels: "Haswell", avx512: false) == [])
  }

  @Test func `a choice of kernels is told unless it is as wide as the processor`() {
    #expect(slowing(coreType: "SkylakeX") == [])
    #expect(slowing(coreType: "SAPPHIRERAPIDS", kernels: "SapphireRapids") == [])
    let told = slowing(coreType: "Prescott", kernels: "Prescott")
    #expect(told.count == 1 && told[0].contains("OPENBLAS_CORETYPE is Prescott"))
    #expect(slowing(coreType: "Haswell", kernels: "Haswell", avx512: false).count == 1)
  }

  /// The library's own threads are switched off; measured, they cost nothing.
  @Test func `threads of the library's own slow nothing`() {
    #expect(slowing(threads: "8", openMPThreads: "8") == [])
  }

  @Test func `threads of OpenMP are told unless there is one`() {
    #expect(slowing(openMP: true, openMPThreads: "1") == [])
    #expect(slowing(openMP: true)[0].contains("OMP_NUM_THREADS is not set"))
    let told = slowing(openMP: true, threads: "4", openMPThreads: "8")
    #expect(told[0].contains("OMP_NUM_THREADS is 8 and OPENBLAS_NUM_THREADS is 4"))
  }
}
