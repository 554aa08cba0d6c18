internal import Synchronization

/// Gives out turns one after the other, in the order in which they were asked for.
///
/// Who waits holds no thread, and who is cancelled while waiting leaves the queue at once.
final class TurnQueue: Sendable {
  /// One place in the queue.
  struct Turn: Sendable, Equatable {
    fileprivate let number: Int
  }

  private struct Waiter {
    let turn: Turn
    var continuation: CheckedContinuation<Void, any Error>?
  }

  private struct State {
    var count = 0
    /// The first one has its turn.
    var waiters: [Waiter] = []

    func index(of turn: Turn) -> Int? { waiters.firstIndex { $0.turn == turn } }
  }

  private let state = Mutex(State())

  /// Takes a place at the end.
  func reserve() -> Turn {
    state.withLock { state in
      state.count += 1
      let turn = Turn(number: state.count)
      state.waiters.append(Waiter(turn: turn))
      return turn
    }
  }

  /// Returns when it is this one's turn, which ends with ``release(_:)``.
  ///
  /// - Throws: `CancellationError` if the task was cancelled before; there is nothing to release then.
  func wait(for turn: Turn) async throws {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation {
        (continuation: CheckedContinuation<Void, any Error>) in
        let outcome = state.withLock { state -> Result<Void, any Error>? in
          switch state.index(of: turn) {
          case nil: return .failure(CancellationError())
          case 0?: return .success(())
          case let index?:
            state.waiters[index].continuation = continuation
            return nil
          }
        }
        if let outcome { continuation.resume(with: outcome) }
      }
    } onCancel: {
      let continuation = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        // Who has its turn gives it back in order.
        guard let index = state.index(of: turn), index > 0 else { return nil }
        return state.waiters.remove(at: index).continuation
      }
      continuation?.resume(throwing: CancellationError())
    }
  }

  /// Ends a turn; the next one begins.
  func release(_ turn: Turn) {
    let next = state.withLock { state -> CheckedContinuation<Void, any Error>? in
      guard let index = state.index(of: turn) else { return nil }
      state.waiters.remove(at: index)
      guard index == 0, !state.waiters.isEmpty else { return nil }
      defer { state.waiters[0].continuation = nil }
      return state.waiters[0].continuation
    }
    next?.resume()
  }
}
