import Compute
import ComputeCUDA
import Testing

/// Every kernel compiles for every architecture that it is made for. Needs NVRTC and no GPU.
@Suite struct KernelCompilationTests {
  static let compiler = try? NVRTC()

  /// A file and what it is compiled for.
  struct Target: CustomTestStringConvertible {
    let source: KernelSource
    let architecture: String
    var testDescription: String { "\(source.name) for \(architecture)" }
  }

  static let targets = KernelSource.kernels.flatMap { source in
    [80, 90].compactMap { source.target(architecture: $0) }.map {
      Target(source: source, architecture: $0 == "sm_90" ? "sm_90a" : $0)
    }
  }

  @Test(
    .enabled(if: compiler != nil, "NVRTC is not installed: kernels are not compiled"),
    arguments: targets)
  func `a kernel file compiles`(_ target: Target) throws {
    let compiler = try #require(Self.compiler)
    let code = try compiler.compile(target.source, architecture: target.architecture)
    // Machine code is an ELF file.
    #expect(Array(code.prefix(4)) == [0x7F, 0x45, 0x4C, 0x46])
  }

  @Test(
    .enabled(if: compiler != nil, "NVRTC is not installed: kernels are not compiled"),
    arguments: ["block_row.cu", "dequantise.cu"])
  func `kernels of one format of blocks compile alone`(_ file: String) throws {
    let compiler = try #require(Self.compiler)
    let source = try #require(KernelSource.kernels.first { $0.name == file })
    let one = try compiler.compile(
      source, architecture: "sm_90", options: ["-DMI_FORMAT=q6_k", "-DMI_FORMAT_TYPE=Q6_K"])
    let all = try compiler.compile(source, architecture: "sm_90")
    #expect(one.count < all.count / 4)
  }

  @Test(.enabled(if: compiler != nil, "NVRTC is not installed: kernels are not compiled"))
  func `a kernel that does not compile is an error with the compiler's log`() throws {
    let compiler = try #require(Self.compiler)
    let source = try #require(KernelSource.kernels.first)
    let error = #expect(throws: CUDAError.self) {
      try compiler.compile(source, architecture: "sm_1")
    }
    #expect(error?.call.contains(source.name) == true)
  }

  @Test func `Hopper kernels are for Hopper alone`() {
    for source in KernelSource.kernels {
      #expect((source.target(architecture: 80) == nil) == source.isForHopper)
      #expect(source.target(architecture: 90) == (source.isForHopper ? "sm_90a" : "sm_90"))
    }
    #expect(KernelSource.kernels.count > 5 && KernelSource.headers.count > 1)
  }
}
