import Compute
import ComputeCUDA
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Compiled kernels on disk.
@Suite struct KernelCacheTests {
  private func temporaryDirectory() -> String {
    var template = Array("/tmp/minference-cache-XXXXXX".utf8CString)
    _ = mkdtemp(&template)
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  @Test func `what is stored is loaded, and nothing else`() {
    let cache = KernelCache(directory: temporaryDirectory() + "/deep/er")
    #expect(cache.load("a") == nil)
    #expect(cache.store([1, 2, 3], as: "a") == nil)
    #expect(cache.load("a") == [1, 2, 3])
    #expect(cache.load("b") == nil)
  }

  @Test func `keys are found by what they begin with, whatever compiler they end with`() {
    let cache = KernelCache(directory: temporaryDirectory())
    for key in ["add.cu.sm_90.abc.nvrtc12080", "add.cu.sm_90.abc.nvrtc13000", "add.cu.sm_90.abd"] {
      #expect(cache.store([1], as: key) == nil)
    }
    #expect(
      cache.keys(withPrefix: "add.cu.sm_90.abc.nvrtc")
        == ["add.cu.sm_90.abc.nvrtc12080", "add.cu.sm_90.abc.nvrtc13000"])
    #expect(KernelCache(directory: "/no/such/directory").keys(withPrefix: "") == [])
  }

  @Test func `what an entry begins with tells source, target and driver apart`() throws {
    let source = try #require(KernelSource.kernels.first)
    let prefixes = [
      source.cachePrefix(target: "sm_80", driver: 13000),
      source.cachePrefix(target: "sm_90", driver: 13000),
      source.cachePrefix(target: "sm_80", driver: 12080),
      KernelSource.kernels[1].cachePrefix(target: "sm_80", driver: 13000),
    ]
    #expect(Set(prefixes).count == 4 && prefixes.allSatisfy { $0.hasSuffix(".nvrtc") })
  }

  @Test func `a truncated or changed entry is not loaded`() throws {
    let directory = temporaryDirectory()
    let cache = KernelCache(directory: directory)
    #expect(cache.store(Array(repeating: 7, count: 100), as: "a") == nil)
    let path = directory + "/a"
    #expect(truncate(path, 60) == 0)
    #expect(cache.load("a") == nil)
    #expect(cache.store(Array(repeating: 7, count: 100), as: "a") == nil)
    let file = try #require(fopen(path, "r+b"))
    fseek(file, 50, SEEK_SET)
    fputc(9, file)
    fclose(file)
    #expect(cache.load("a") == nil)
  }

  @Test func `a directory that cannot be written is told, not fatal`() {
    let notice = KernelCache(directory: "/proc/nowhere").store([1], as: "a")
    #expect(notice?.contains("/proc/nowhere") == true)
  }

  @Test func `entries written side by side are whole`() async {
    let cache = KernelCache(directory: temporaryDirectory())
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for _ in 0..<20 { _ = cache.store(Array(repeating: 5, count: 10_000), as: "a") }
        }
      }
    }
    #expect(cache.load("a") == Array(repeating: 5, count: 10_000))
  }
}
