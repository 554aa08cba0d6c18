import MInference

/// Writes an answer as it comes: its text to standard output, and what the model thinks before it to standard
/// error, dimmed on a terminal.
struct AnswerWriter {
  private var isThinking = false
  private var hasThought = false
  private var hasText = false
  /// Whether what was written last to a stream ends its line.
  private var endsLine = false

  private static let dim = "\u{1B}[2m"
  private static let undim = "\u{1B}[22m"

  mutating func write(_ part: AnswerPart) throws {
    switch part {
    case .reasoning(let text):
      if !isThinking, StandardError.isTerminal { StandardError.write(Self.dim) }
      (isThinking, hasThought) = (true, true)
      StandardError.write(text)
      endsLine = text.hasSuffix("\n")
    case .text(let text):
      endThought()
      try StandardOutput.write(text)
      hasText = true
      endsLine = text.hasSuffix("\n")
    }
  }

  /// Ends what the model thought with a line, and the dimming. Safe to call more than once.
  mutating func endThought() {
    guard isThinking else { return }
    isThinking = false
    if !endsLine { StandardError.write("\n") }
    // A terminal shows both streams.
    if StandardError.isTerminal { StandardError.write(Self.undim + "\n") }
    endsLine = false
  }

  /// Ends the answer.
  ///
  /// - Parameter always: Also where its last line has ended.
  mutating func finish(endingLine always: Bool) throws {
    endThought()
    if always || !endsLine { try StandardOutput.write("\n") }
  }

  /// What to say of an answer that was thought alone; nil of any other.
  var notice: String? {
    hasThought && !hasText
      ? "the answer ended while the model was thinking; give it more tokens with --max-tokens" : nil
  }
}
