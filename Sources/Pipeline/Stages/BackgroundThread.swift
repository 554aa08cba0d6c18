import CSystemCalls

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Threads outside Swift's cooperative pool, which those that wait would starve.
package enum BackgroundThread {
  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// - Throws: ``PipelineError/noThread(reason:)``.
  package static func start(_ body: @escaping @Sendable () -> Void) throws {
    let context = Unmanaged.passRetained(Body(body))
    let status = csystem_start_thread(
      { context in
        if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
      }, context.toOpaque())
    guard status == 0 else {
      context.release()
      throw PipelineError.noThread(reason: String(cString: strerror(status)))
    }
  }
}
