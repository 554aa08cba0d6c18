import Compute
import TextReports
import Synchronization

/// Progress on standard error: one line that is written over on a terminal, and a plain line now
/// and then where it is not.
final class ProgressLine: Sendable {
  private struct State {
    var start: ContinuousClock.Instant
    var lastShown: ContinuousClock.Instant?
    var notices: [String]
  }

  private let label: String
  private let isTerminal: Bool
  private let state: Mutex<State>

  /// - Parameter notices: Lines that the user should see once the work has begun. A run that fails
  ///   before says why, and nothing else.
  init(label: String, notices: [String] = []) {
    self.label = label
    isTerminal = StandardError.isTerminal
    state = Mutex(State(start: .now, notices: notices))
  }

  /// Called from the thread that computes; cheap when there is nothing to show yet.
  func update(fraction: Double, totalTokens: Int) {
    state.withLock { state in
      state.notices.forEach(StandardError.note)
      state.notices = []
      let now = ContinuousClock.Instant.now
      // A terminal is refreshed ten times a second; a log gets a line every 15 seconds.
      let interval: Duration = isTerminal ? .milliseconds(100) : .seconds(15)
      guard now - (state.lastShown ?? state.start) >= interval else { return }
      state.lastShown = now
      let text = ProgressText(
        label: label, fraction: fraction, totalTokens: totalTokens,
        elapsed: (now - state.start).inSeconds)
      if isTerminal {
        TerminalLine.show(text.line(columns: StandardError.columns - 1))
      } else {
        StandardError.write(text.line(columns: 100) + "\n")
      }
    }
  }

  /// Removes the line from the terminal. Safe to call more than once.
  func finish() { TerminalLine.clear() }
}
