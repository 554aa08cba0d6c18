import CSystemCalls
import Compute
import JSON

/// Another process as process 0 sees it: asks it to do something, and waits for the answer.
final class RankClient: Sendable {
  let rank: Int
  let size: Int
  /// Where it runs, for messages.
  let host: String
  private let connection: Connection
  private let state = Monitor(State())

  private struct State {
    var calls = 0
    var replies: [Int: Message] = [:]
    var progress: [Int: @Sendable (Double) -> Void] = [:]
    var failure: (any Error)?
    var hasEnded = false
  }

  /// - Parameter onLoss: Called once, on a thread of its own, when the process is lost.
  /// - Throws: ``PipelineError/noThread(reason:)``.
  init(
    rank: Int, size: Int, host: String, connection: Connection,
    onLoss: @escaping @Sendable (PipelineError) -> Void
  ) throws {
    self.rank = rank
    self.size = size
    self.host = host
    self.connection = connection
    let (state, connection) = (state, connection)
    try BackgroundThread.start {
      do {
        while true {
          let message = try connection.receive()
          switch message.kind {
          case "reply":
            let call = try message.int("call")
            state.withLock { $0.replies[call] = message }
          case "progress":
            let reading = try message.int("reading")
            let handler = state.withLock { $0.progress[reading] }
            handler?(message["fraction"]?.double ?? 0)
          default: break
          }
        }
      } catch {
        let loss = PipelineError.lostRank(rank, of: size, host: host, reason: "\(error)")
        let isNew = state.withLock { state in
          defer { state.failure = state.failure ?? loss }
          return state.failure == nil && !state.hasEnded
        }
        if isNew { onLoss(loss) }
      }
    }
    // Silence would count as a loss.
    try BackgroundThread.start {
      while !state.withLock({ $0.hasEnded || $0.failure != nil }) {
        do { try connection.send(Message("ping")) } catch { return }
        csystem_sleep_milliseconds(Int32(Connection.silence / 10))
      }
    }
  }

  /// Another process was lost: calls end with this error.
  func fail(_ error: PipelineError) {
    state.withLock { $0.failure = $0.failure ?? error }
    connection.close()
  }

  /// Lets the process end as it should.
  func end() {
    guard
      !state.withLock({ state in
        defer { state.hasEnded = true }
        return state.hasEnded
      })
    else { return }
    // The process closes the connection.
    try? connection.send(Message("end"))
  }

  /// Waits until the process has gone, for so long at most: who ends first may take the message with it.
  func waitUntilGone(seconds: Double) {
    _ = state.wait(atMost: seconds) { $0.failure.map { _ in () } }
  }

  /// Tells the process something that has no answer.
  func post(_ message: Message) throws {
    if let failure = state.withLock({ $0.failure }) { throw failure }
    do {
      try connection.send(message)
    } catch {
      throw state.withLock { $0.failure }
        ?? PipelineError.lostRank(rank, of: size, host: host, reason: "\(error)")
    }
  }

  /// Asks for something; ``wait(for:poll:)`` gives the answer.
  func start(_ message: Message) throws -> Int {
    let call = state.withLock { state in
      state.calls += 1
      return state.calls
    }
    var message = message
    message.fields.append(("call", .integer(call)))
    try post(message)
    return call
  }

  /// - Parameter poll: Called every twentieth of a second meanwhile.
  /// - Throws: what the process answers; ``PipelineError/lostRank(_:of:host:reason:)``.
  func wait(for call: Int, poll: () -> Void = {}) throws -> Message {
    var found: Result<Message, any Error>?
    while found == nil {
      found = state.wait(atMost: 0.05) { state -> Result<Message, any Error>? in
        if let reply = state.replies.removeValue(forKey: call) { return .success(reply) }
        return state.failure.map { .failure($0) }
      }
      if found == nil { poll() }
    }
    guard let found else { throw CancellationError() }
    let reply = try found.get()
    if reply.flag("cancelled") { throw CancellationError() }
    if let text = reply["error"]?.text { throw PipelineError.remote(text: text) }
    return reply
  }

  func call(_ message: Message, poll: () -> Void = {}) throws -> Message {
    try wait(for: start(message), poll: poll)
  }

  /// Who is told of the progress of a reading; nil: nobody any longer.
  func setProgress(of reading: Int, _ handler: (@Sendable (Double) -> Void)?) {
    state.withLock { $0.progress[reading] = handler }
  }
}
