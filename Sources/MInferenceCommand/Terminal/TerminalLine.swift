import Synchronization

/// The one line of a terminal that is written over while something goes on. Nothing where standard
/// error is no terminal.
enum TerminalLine {
  private static let isShowing = Mutex(false)

  /// Shows `text` in place of what is shown, as far as the terminal is wide.
  static func show(_ text: String) {
    guard StandardError.isTerminal else { return }
    isShowing.withLock { isShowing in
      isShowing = true
      StandardError.write("\r\(text.prefix(max(0, StandardError.columns - 1)))\u{1B}[K")
    }
  }

  /// Removes the line. Safe to call more than once.
  static func clear() {
    isShowing.withLock { isShowing in
      if isShowing { StandardError.write("\r\u{1B}[K") }
      isShowing = false
    }
  }
}
