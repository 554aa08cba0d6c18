internal import CSystemCalls
internal import Compute
internal import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One growing piece of memory for each kernel thread.
///
/// A thread only touches its own piece, and the pool runs one caller's work at a time; so a piece
/// has one user at any moment.
final class ScratchMemory: @unchecked Sendable {
  private let pieces: UnsafeMutablePointer<(base: UnsafeMutableRawPointer?, size: Int)>
  private let threads: Int

  init(threads: Int) {
    self.threads = threads
    pieces = .allocate(capacity: threads)
    pieces.initialize(repeating: (nil, 0), count: threads)
  }

  deinit {
    for thread in 0..<threads { free(pieces[thread].base) }
    pieces.deallocate()
  }

  /// At least `bytes` bytes, aligned to 64, for the thread that a pool run named; nil if there is no
  /// memory.
  func memory(thread: Int, bytes: Int) -> UnsafeMutableRawPointer? {
    if pieces[thread].size < bytes {
      free(pieces[thread].base)
      var pointer: UnsafeMutableRawPointer?
      let size = (bytes + 4095) / 4096 * 4096
      pieces[thread] = posix_memalign(&pointer, 64, size) == 0 ? (pointer, size) : (nil, 0)
    }
    return pieces[thread].base
  }
}

/// One growing piece of memory for what all threads of an operation read.
///
/// The piece is lent to one operation at a time; a second one that runs meanwhile has a piece of its own.
final class SharedMemory: Sendable {
  private let idle = Mutex<HostBuffer?>(nil)

  /// Runs body with at least `bytes` bytes, aligned to 64.
  ///
  /// - Throws: ``ComputeError/outOfMemory(wantedBytes:purpose:)``, and what the body throws.
  func withMemory(bytes: Int, _ body: (UnsafeMutableRawPointer) throws -> Void) throws {
    let found = idle.withLock { idle in
      let found = idle
      idle = nil
      return found
    }
    guard
      let buffer = found.flatMap({ $0.byteCount >= bytes ? $0 : nil })
        ?? HostBuffer(byteCount: bytes)
    else { throw ComputeError.outOfMemory(wantedBytes: bytes, purpose: "quantised activations") }
    defer { idle.withLock { $0 = buffer } }
    try body(buffer.base)
  }
}

/// Processors that this process may use.
func processorCount() -> Int { max(1, Int(csystem_cpu_count())) }

/// Bytes that can be had without swapping or breaking a limit, if the system tells.
func freeHostBytes() -> Int? {
  let bytes = csystem_available_memory_bytes()
  return bytes > 0 ? Int(clamping: bytes) : nil
}
