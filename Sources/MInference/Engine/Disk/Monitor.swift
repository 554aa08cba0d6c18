#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A value that threads share, with waits for changes of it.
final class Monitor<State>: @unchecked Sendable {
  // Everything is touched under `mutex` alone, but for the two themselves.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var state: State

  init(_ state: State) {
    self.state = state
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Changes the value, and lets those that wait look at it.
  ///
  /// - Parameter wakesAll: false: what was changed is of use to one of them, and to any.
  func change<Result>(
    wakesAll: Bool = true, _ body: (inout State) throws -> Result
  ) rethrows -> Result {
    pthread_mutex_lock(mutex)
    defer {
      pthread_mutex_unlock(mutex)
      if wakesAll { pthread_cond_broadcast(condition) } else { pthread_cond_signal(condition) }
    }
    return try body(&state)
  }

  /// Waits until `body` has a result. What it changes is of use to nobody who waits.
  ///
  /// - Parameter seconds: nil: without end.
  /// - Returns: nil where there was none in time.
  func wait<Result>(atMost seconds: Double? = nil, for body: (inout State) -> Result?) -> Result? {
    var end = timespec()
    if let seconds {
      clock_gettime(CLOCK_REALTIME, &end)
      let nanoseconds = end.tv_nsec + Int(min(max(seconds, 0), 1e6) * 1e9)
      end.tv_sec += nanoseconds / 1_000_000_000
      end.tv_nsec = nanoseconds % 1_000_000_000
    }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&state) { return result }
      if seconds == nil {
        pthread_cond_wait(condition, mutex)
      } else if pthread_cond_timedwait(condition, mutex, &end) == ETIMEDOUT {
        return body(&state)
      }
    }
  }
}
