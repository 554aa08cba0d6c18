import Compute
import Synchronization
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite struct MonitorTests {
  /// Runs `body` on a thread of its own, which holds nobody's turn.
  private func onThread(_ body: @escaping @Sendable () -> Void) {
    final class Job: Sendable {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let job = Unmanaged.passRetained(Job(body))
    pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<Job>.fromOpaque(context).takeRetainedValue().body() }
        return nil
      }, job.toOpaque())
    pthread_detach(thread)
  }

  @Test func `threads that wait get each value once`() {
    let values = Monitor<[Int]>([])
    let taken = Monitor<[Int]>([])
    for _ in 0..<3 {
      onThread {
        while true {
          let value = values.wait { $0.popLast() }
          taken.withLock { $0.append(value) }
          if value < 0 { return }
        }
      }
    }
    for value in 0..<200 { values.withLock(wakesAll: false) { $0.append(value) } }
    let found = taken.wait { $0.count == 200 ? $0 : nil }
    #expect(found.sorted() == Array(0..<200))
    // Each thread takes one, and ends.
    values.withLock { $0 = [-1, -2, -3] }
    #expect(taken.wait { $0.count == 203 ? $0 : nil }.suffix(3).reduce(0, +) == -6)
  }

  @Test func `a wait ends in time, and not before`() {
    let monitor = Monitor(0)
    let start = ContinuousClock.now
    #expect(monitor.wait(atMost: 0.05) { $0 > 0 ? $0 : nil } == nil)
    #expect(ContinuousClock.now - start >= .milliseconds(45))
    // What is there needs no waiting, nor does what is past.
    #expect(monitor.wait(atMost: 0) { $0 == 0 ? 7 : nil } == 7)
    #expect(monitor.wait(atMost: -1) { $0 > 0 ? $0 : nil } == nil)
    onThread {
      usleep(20_000)
      monitor.withLock { $0 = 3 }
    }
    #expect(monitor.wait(atMost: 60) { $0 > 0 ? $0 : nil } == 3)
    #expect(ContinuousClock.now - start < .seconds(30))
  }

  @Test func `an error leaves the lock open`() {
    let monitor = Monitor(1)
    #expect(throws: CancellationError.self) {
      try monitor.withLock { _ in throw CancellationError() }
    }
    #expect(monitor.withLock { $0 } == 1)
  }
}
