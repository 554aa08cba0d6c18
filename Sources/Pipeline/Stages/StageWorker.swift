import Compute

/// The thread of one stage: it does what it is given, in order.
///
/// Everything that a stage's device computes for the pipeline is given to this thread, so chunks of one
/// prompt, and of several, follow one another there.
final class StageWorker: Sendable {
  typealias Job = @Sendable () -> Void

  private struct Queue {
    var jobs: [Job] = []
    var isClosed = false
  }

  private final class Thread: Sendable {
    let queue = Monitor(Queue())

    func run() {
      while let job = next() { job() }
    }

    private func next() -> Job? {
      queue.wait { queue in
        guard !queue.jobs.isEmpty else { return queue.isClosed ? .some(nil) : nil }
        return queue.jobs.removeFirst()
      }
    }
  }

  private let thread = Thread()

  /// - Throws: ``PipelineError/noThread(reason:)``.
  init() throws {
    let thread = thread
    try BackgroundThread.start { thread.run() }
  }

  /// The thread ends once its jobs are done.
  deinit { thread.queue.withLock { $0.isClosed = true } }

  /// Appends a job.
  func submit(_ job: @escaping Job) { thread.queue.withLock { $0.jobs.append(job) } }

  /// Runs `body` behind the jobs that are there, and waits for it.
  func run<Value>(_ body: () throws -> Value) throws -> Value {
    let outcome = Monitor<Result<Value, any Error>?>(nil)
    return try withoutActuallyEscaping(body) { body in
      let call = Call(body)
      submit {
        let result = call.run()
        outcome.withLock { $0 = result }
      }
      return try outcome.wait { $0 }.get()
    }
  }

  /// A closure that another thread runs, once, while its owner waits.
  private final class Call<Value>: @unchecked Sendable {
    private var body: (() throws -> Value)?

    init(_ body: @escaping () throws -> Value) { self.body = body }

    /// Nobody holds the closure afterwards: the owner's frame may end.
    func run() -> Result<Value, any Error> {
      defer { body = nil }
      return Result {
        guard let body else { throw CancellationError() }
        return try body()
      }
    }
  }
}
