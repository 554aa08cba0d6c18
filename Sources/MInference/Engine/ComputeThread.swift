import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A thread on which actors run: the one thread that computes on a device.
///
/// Engines whose models are on one device share its thread, so their work alternates and never
/// overlaps. Jobs run in the order in which they came. The thread ends with its last owner.
public final class ComputeThread: SerialExecutor {
  private let jobs = JobQueue()

  /// - Throws: ``LanguageModelError/noThread(reason:)``.
  public init() throws {
    let jobs = jobs
    let executor = Unowned(self)
    try WorkerThread.start {
      while let job = jobs.next() { job.runSynchronously(on: executor.reference) }
    }
  }

  deinit { jobs.close() }

  public func enqueue(_ job: consuming ExecutorJob) { jobs.add(UnownedJob(job)) }

  /// An executor outlives its jobs: their actors keep it.
  private struct Unowned: @unchecked Sendable {
    let reference: UnownedSerialExecutor

    init(_ executor: ComputeThread) { reference = executor.asUnownedSerialExecutor() }
  }
}

/// Jobs in order, and a wait for the next one.
private final class JobQueue: @unchecked Sendable {
  // Everything is touched under `mutex` alone, but for the two themselves.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var jobs: [UnownedJob] = []
  /// Jobs before it have been handed out.
  private var first = 0
  private var isClosed = false

  init() {
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

  func add(_ job: UnownedJob) {
    pthread_mutex_lock(mutex)
    jobs.append(job)
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  func close() {
    pthread_mutex_lock(mutex)
    isClosed = true
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Waits for a job; nil once the queue is closed and empty.
  func next() -> UnownedJob? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while first == jobs.count, !isClosed { pthread_cond_wait(condition, mutex) }
    guard first < jobs.count else { return nil }
    let job = jobs[first]
    first += 1
    if first == jobs.count || first > 64 {
      jobs.removeFirst(first)
      first = 0
    }
    return job
  }
}
