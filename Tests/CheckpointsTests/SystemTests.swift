import CSystemCalls
import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct SystemTests {
  @Test func `Memory, processors and time have values that can be`() {
    let peak = csystem_peak_memory_bytes()
    #expect(peak > 1 << 20 && peak < 1 << 46)
    let available = csystem_available_memory_bytes()
    #expect(available > 1 << 20 && available < 1 << 46)
    #expect(csystem_cpu_count() >= 1)
    let start = csystem_monotonic_seconds()
    usleep(2000)
    let elapsed = csystem_monotonic_seconds() - start
    #expect(elapsed >= 0.002 && elapsed < 60)
  }

  @Test func `Peak memory follows what is touched and stays after it is freed`() {
    let before = csystem_peak_memory_bytes()
    let count = Int(before) + (64 << 20)
    let block = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 4096)
    memset(block, 1, count)
    block.deallocate()
    #expect(csystem_peak_memory_bytes() >= before + 32 << 20)
  }
}

#if os(Linux)
  /// Control groups as files under a root of the test's own.
  @Suite struct ControlGroupTests {
    private func root(_ files: [String: String]) throws -> TemporaryDirectory {
      let directory = try TemporaryDirectory()
      for (name, text) in files {
        let folder = name.split(separator: "/").dropLast().joined(separator: "/")
        try FileManager.default.createDirectory(
          atPath: directory.path(of: folder), withIntermediateDirectories: true)
        try directory.write(text, to: name)
      }
      return directory
    }

    private let memoryInformation = "MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\n"

    @Test func `Without limits the kernel's figure counts`() throws {
      let root = try root([
        "proc/meminfo": memoryInformation, "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": "5\n",
        "sys/fs/cgroup/a/cpu.max": "max 100000\n",
      ])
      #expect(csystem_available_memory_bytes_under(root.path) == 8000 * 1024)
      #expect(csystem_cpu_count_under(root.path, 64) == 64)
    }

    @Test func `The smallest limit of a group and those above it counts`() throws {
      let root = try root([
        "proc/meminfo": memoryInformation, "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "4000000\n", "sys/fs/cgroup/a/b/memory.current": "1000\n",
        "sys/fs/cgroup/a/memory.max": "3000000\n", "sys/fs/cgroup/a/memory.current": "1000000\n",
        "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 250000\n",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "250000 100000\n",
      ])
      #expect(csystem_available_memory_bytes_under(root.path) == 3_000_000 - 750_000)
      #expect(csystem_cpu_count_under(root.path, 64) == 3)
      #expect(csystem_cpu_count_under(root.path, 2) == 2)
    }

    @Test func `Version 1 and its spellings of no limit are read`() throws {
      let root = try root([
        "proc/meminfo": memoryInformation,
        "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/x\n0::/\n",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "77\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
        "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      ])
      #expect(csystem_available_memory_bytes_under(root.path) == 1_500_000)
      #expect(csystem_cpu_count_under(root.path, 8) == 1)
    }

    @Test func `A container that sees only its own mount is limited by it`() throws {
      let root = try root([
        "proc/meminfo": memoryInformation, "proc/self/cgroup": "0::/../host/path\n",
        "sys/fs/cgroup/memory.max": "1000000\n", "sys/fs/cgroup/memory.current": "2000000\n",
      ])
      #expect(csystem_available_memory_bytes_under(root.path) == 0)
    }

    @Test func `A system that says nothing gives 0 bytes and the processors it was given`() throws {
      let root = try root([:])
      #expect(csystem_available_memory_bytes_under(root.path) == 0)
      #expect(csystem_cpu_count_under(root.path, 5) == 5)
    }
  }
#endif

/// The child reads a mapping whose file its parent has cut off.
@Suite struct ShrinkingFileTests {
  private func openedThenTruncated() throws -> (SafetensorsFile, TensorView, TemporaryDirectory) {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "model.safetensors")
    try directory.write(
      [.init(name: "t", shape: [65536], floats: [Float](repeating: 1, count: 65536))],
      to: "model.safetensors")
    let file = try SafetensorsFile(path: path)
    let tensor = try #require(try file.tensor(named: "t"))
    try #require(truncate(path, 4096) == 0)
    return (file, tensor, directory)
  }

  private func read(_ bytes: UnsafeRawBufferPointer) -> (status: Int32, message: String) {
    var message = [CChar](repeating: 0, count: 2048)
    let status = csystem_testing_read_in_child(
      bytes.baseAddress, bytes.count, &message, message.count)
    let text = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return (status, String(decoding: text, as: UTF8.self))
  }

  @Test func `Reading a file that shrank ends with one line that names it and code 74`() throws {
    let (file, tensor, _) = try openedThenTruncated()
    let (status, message) = read(tensor.bytes)
    #expect(status == 74 << 8)
    #expect(
      message == "minference: \(file.path) became shorter while it was read: "
        + "restore the file and run again\n")
  }

  @Test func `Reading a whole file ends well and says nothing`() throws {
    let directory = try TemporaryDirectory()
    try directory.write(
      [.init(name: "t", shape: [65536], floats: [Float](repeating: 1, count: 65536))],
      to: "model.safetensors")
    let file = try SafetensorsFile(path: directory.path(of: "model.safetensors"))
    let tensor = try #require(try file.tensor(named: "t"))
    let (status, message) = read(tensor.bytes)
    #expect(status == 0)
    #expect(message == "")
  }

  @Test func `Elsewhere the signal takes its former course`() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "plain")
    try SafetensorsWriter.write(bytes: [UInt8](repeating: 1, count: 65536), to: path)
    let descriptor = open(path, O_RDONLY)
    defer { close(descriptor) }
    let start = try #require(mmap(nil, 65536, PROT_READ, MAP_PRIVATE, descriptor, 0))
    defer { munmap(start, 65536) }
    try #require(truncate(path, 0) == 0)
    let (status, message) = read(UnsafeRawBufferPointer(start: start, count: 65536))
    #expect(status & 0x7F == SIGBUS)
    #expect(message == "")
  }

  @Test func `A mapping is forgotten when its file closes`() throws {
    let address = UnsafeRawPointer(bitPattern: 1 << 20)
    for _ in 0..<3000 {
      #expect(csystem_guard_mapping(address, 4096, "somewhere"))
      csystem_unguard_mapping(address)
    }
  }

  @Test(arguments: [0, 1, 2, 1000]) func `A loop over threads runs every index once`(count: Int) {
    var runs = [Int32](repeating: 0, count: count)
    runs.withUnsafeMutableBufferPointer { runs in
      csystem_for_each(
        Int64(count),
        { context, index in context?.assumingMemoryBound(to: Int32.self)[Int(index)] += 1 },
        runs.baseAddress)
    }
    #expect(runs.allSatisfy { $0 == 1 })
  }

  @Test func `A thread that was started has room for deep calls`() async {
    final class Job {
      let continuation: CheckedContinuation<Int, Never>
      init(_ continuation: CheckedContinuation<Int, Never>) { self.continuation = continuation }
    }
    let depth = await withCheckedContinuation { continuation in
      let job = Unmanaged.passRetained(Job(continuation))
      let status = csystem_start_thread(
        { context in
          guard let context else { return }
          let job = Unmanaged<Job>.fromOpaque(context).takeRetainedValue()
          job.continuation.resume(returning: deepCall(6000))
        }, job.toOpaque())
      if status != 0 { job.takeRetainedValue().continuation.resume(returning: -1) }
    }
    #expect(depth == 6000)
  }
}

/// Takes at least a KiB of stack a call: 6 MiB for 6000 calls.
@inline(never) private func deepCall(_ depth: Int) -> Int {
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1000) { memory in
    memory.initialize(repeating: UInt8(truncatingIfNeeded: depth))
    let below = depth > 1 ? deepCall(depth - 1) : 0
    return below + (memory[999] == UInt8(truncatingIfNeeded: depth) ? 1 : 0)
  }
}
