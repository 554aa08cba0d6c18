import CSystemCalls

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Threads for work that takes long.
///
/// Swift's cooperative pool has one thread a processor; a prefill of seconds inside it would starve
/// every other task of the process.
package enum WorkerThread {
  private final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Runs `body` on a thread of its own and suspends the caller until it is done.
  package static func run<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      do {
        try start { continuation.resume(with: Result { try body() }) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  /// Runs `body` on a thread of its own. Throws ``LanguageModelError/noThread(reason:)``.
  static func start(_ body: @escaping @Sendable () -> Void) throws {
    let job = Unmanaged.passRetained(Job(body))
    let status = csystem_start_thread(
      { context in
        if let context { Unmanaged<Job>.fromOpaque(context).takeRetainedValue().body() }
      }, job.toOpaque())
    guard status == 0 else {
      job.release()
      throw LanguageModelError.noThread(reason: String(cString: strerror(status)))
    }
  }
}
