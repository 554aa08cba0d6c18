import Compute

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
private final class JobQueue: Sendable {
  private struct State {
    var jobs: [UnownedJob] = []
    /// Jobs before it have been handed out.
    var first = 0
    var isClosed = false
  }

  private let state = Monitor(State())

  func add(_ job: UnownedJob) { state.withLock { $0.jobs.append(job) } }

  func close() { state.withLock { $0.isClosed = true } }

  /// Waits for a job; nil once the queue is closed and empty.
  func next() -> UnownedJob? {
    state.wait { state -> UnownedJob?? in
      guard state.first < state.jobs.count else { return state.isClosed ? .some(nil) : nil }
      let job = state.jobs[state.first]
      state.first += 1
      if state.first == state.jobs.count || state.first > 64 {
        state.jobs.removeFirst(state.first)
        state.first = 0
      }
      return job
    }
  }
}
