#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A thread with a stack that holds the deepest nesting that a template may have.
///
/// Templates are read and evaluated recursively. A caller's thread may have a stack of 128 KiB, and
/// its size is unknown.
enum RenderingThread {
  /// Bytes of stack; ``TemplateBudget/deepestEvaluation`` levels take less than half of it.
  private static let stackBytes = 16 << 20

  /// What a thread runs, and what comes of it.
  private final class Job<Value>: @unchecked Sendable {
    // The caller waits for the thread, so that only one of them uses the job at a time.
    let body: () -> Value
    var value: Value?

    init(_ body: @escaping () -> Value) { self.body = body }

    func run() { value = body() }
  }

  /// Runs `body` on such a thread and waits for it.
  ///
  /// - Throws: where the system gives no thread.
  static func run<Value>(
    _ body: () throws(ChatTemplateError) -> Value
  ) throws(ChatTemplateError) -> Value {
    let result: Result<Value, ChatTemplateError>? = withoutActuallyEscaping(body) { body in
      let job = Job { () -> Result<Value, ChatTemplateError> in
        do throws(ChatTemplateError) {
          return .success(try body())
        } catch {
          return .failure(error)
        }
      }
      let start: @Sendable () -> Void = { job.run() }
      guard runThread(start) else { return nil }
      return job.value
    }
    guard let result else {
      throw ChatTemplateError(
        .noThread, line: 1,
        "the system gives no thread to render with: raise its limits on processes (ulimit -u) and "
          + "on memory (ulimit -v, ulimit -d)")
    }
    return try result.get()
  }

  private final class Entry: Sendable {
    let start: @Sendable () -> Void
    init(_ start: @escaping @Sendable () -> Void) { self.start = start }
  }

  private static func runThread(_ start: @escaping @Sendable () -> Void) -> Bool {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return false }
    defer { pthread_attr_destroy(&attributes) }
    guard pthread_attr_setstacksize(&attributes, stackBytes) == 0 else { return false }
    let entry = Unmanaged.passRetained(Entry(start))
    #if canImport(Darwin)
      var thread: pthread_t?
      let code = pthread_create(
        &thread, &attributes,
        { argument in
          Unmanaged<Entry>.fromOpaque(argument).takeRetainedValue().start()
          return nil
        }, entry.toOpaque())
      guard code == 0, let thread else {
        entry.release()
        return false
      }
    #else
      var thread = pthread_t()
      let code = pthread_create(
        &thread, &attributes,
        { argument in
          if let argument { Unmanaged<Entry>.fromOpaque(argument).takeRetainedValue().start() }
          return nil
        }, entry.toOpaque())
      guard code == 0 else {
        entry.release()
        return false
      }
    #endif
    return pthread_join(thread, nil) == 0
  }
}
