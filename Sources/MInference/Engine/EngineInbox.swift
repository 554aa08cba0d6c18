import Synchronization

/// What others ask of an engine, and what wakes its loop. Every lock is held for a moment only.
final class EngineInbox: Sendable {
  private struct State {
    var submissions: [Submission] = []
    /// Requests that the loop has taken and not begun.
    var waiting = 0
    var nextID = 1
    var isStopping = false
    var stopDeadline: ContinuousClock.Instant?
    var writingDeadline: ContinuousClock.Instant?
    /// Whether something came that the loop has not looked at.
    var hasNews = false
    var sleeper: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  /// - Parameters:
  ///   - session: What a session asks for its own sequence.
  ///   - limit: Requests that may wait, sessions' aside.
  /// - Returns: The request's number.
  /// - Throws: ``EngineError/queueFull(length:)``, ``EngineError/stopping``.
  func add(
    _ request: AnswerRequest, session: SessionWork? = nil, cancellation: CancellationFlag,
    sink: AnswerSink, limit: Int = .max
  ) throws(EngineError) -> Int {
    let result = state.withLock { state -> Result<Int, EngineError> in
      guard !state.isStopping else { return .failure(.stopping) }
      let waiting = state.waiting + state.submissions.count
      guard waiting < limit else { return .failure(.queueFull(length: waiting)) }
      let id = state.nextID
      state.nextID += 1
      state.submissions.append(
        Submission(
          id: id, request: request, session: session, cancellation: cancellation, sink: sink))
      return .success(id)
    }
    let id = try result.get()
    wake()
    return id
  }

  /// Lets nobody in any more. Running sequences have until `deadline`, and what is written to disk until
  /// `writingDeadline`.
  func stop(
    by deadline: ContinuousClock.Instant, writingBy writingDeadline: ContinuousClock.Instant
  ) {
    state.withLock {
      $0.isStopping = true
      $0.stopDeadline = min($0.stopDeadline ?? deadline, deadline)
      $0.writingDeadline = min($0.writingDeadline ?? writingDeadline, writingDeadline)
    }
    wake()
  }

  /// nil while the engine goes on.
  var stopDeadline: ContinuousClock.Instant? { state.withLock(\.stopDeadline) }
  /// nil while the engine goes on.
  var writingDeadline: ContinuousClock.Instant? { state.withLock(\.writingDeadline) }

  /// Whether something came since ``take(waiting:)``.
  var hasNews: Bool { state.withLock(\.hasNews) }

  /// The new submissions.
  ///
  /// - Parameter waiting: How many the loop has not begun, without these.
  func take(waiting: Int) -> [Submission] {
    state.withLock { state in
      defer { state.submissions = [] }
      state.waiting = waiting + state.submissions.count
      state.hasNews = false
      return state.submissions
    }
  }

  /// Says how many of those that were taken are still waiting.
  func setWaiting(_ count: Int) { state.withLock { $0.waiting = count } }

  var waiting: Int { state.withLock { $0.waiting + $0.submissions.count } }

  /// Suspends the loop until something comes. Returns at once if something has come.
  func sleep() async {
    await withCheckedContinuation { continuation in
      let isAwake = state.withLock { state in
        if !state.hasNews { state.sleeper = continuation }
        return state.hasNews
      }
      if isAwake { continuation.resume() }
    }
  }

  /// The same, for so many seconds at most.
  func sleep(atMost seconds: Double) async {
    let alarm = Task { [self] in
      try await Task.sleep(for: .seconds(seconds))
      wake()
    }
    await sleep()
    alarm.cancel()
  }

  /// Lets the loop look at what has changed.
  func wake() {
    let sleeper = state.withLock { state in
      defer { state.sleeper = nil }
      state.hasNews = true
      return state.sleeper
    }
    sleeper?.resume()
  }
}
