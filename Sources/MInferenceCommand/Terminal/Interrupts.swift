import CSystemCalls

/// Ctrl-C while something runs that can be stopped without ending the process.
enum Interrupts {
  /// Runs `body` in a task that the first interrupt cancels. A second one ends the process, as any does
  /// where nothing is caught.
  static func cancelling<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    csystem_catch_interrupts(true)
    defer { csystem_catch_interrupts(false) }
    let task = Task { try await body() }
    // A signal handler can wake no task; looking 50 times a second costs nothing beside a model.
    let watch = Task {
      while !csystem_was_interrupted() {
        try await Task.sleep(for: .milliseconds(20))
      }
      task.cancel()
    }
    defer { watch.cancel() }
    return try await task.value
  }
}
