import MInference
import Synchronization
import TextReports

/// What goes on before a prompt is read: weights, kernels, tokens.
enum PreparationLine {
  private struct State {
    let start = ContinuousClock.now
    var lastShown: ContinuousClock.Instant?
    /// Whether a log has a line of it.
    var hasToldPreparation = false
  }

  private static let state = Mutex(State())

  /// The model that the options ask for, with its progress shown.
  static func load(_ options: LoadOptions) async throws -> LanguageModel {
    defer { TerminalLine.clear() }
    return try await LanguageModel.load(options, progress: showWeights)
  }

  /// Something is made ready that takes seconds and happens once for a machine: kernels of a GPU.
  @Sendable static func showPreparation(_ what: String) {
    if StandardError.isTerminal { return TerminalLine.show(what) }
    // A log needs to know once why nothing happens.
    let isNew = state.withLock { state in
      defer { state.hasToldPreparation = true }
      return !state.hasToldPreparation
    }
    if isNew { StandardError.note(what + ", once for this machine") }
  }

  /// The share of the weights that was read.
  @Sendable static func showWeights(_ share: Double) {
    let text = "reading weights  \(Int((share * 100).rounded(.down))) %"
    let isDue = state.withLock { state in
      let now = ContinuousClock.now
      let interval: Duration = StandardError.isTerminal ? .milliseconds(100) : .seconds(15)
      guard now - (state.lastShown ?? state.start) >= interval else { return false }
      state.lastShown = now
      return true
    }
    guard isDue else { return }
    if StandardError.isTerminal { TerminalLine.show(text) } else { StandardError.note(text) }
  }

  /// Runs `body`, which tokenizes so many bytes, with a line that says so where it takes a while.
  static func tokenizing<Value>(_ byteCount: Int, _ body: () throws -> Value) rethrows -> Value {
    guard byteCount > 1 << 20 else { return try body() }
    TerminalLine.show("tokenizing \(Quantity.bytes(byteCount))")
    defer { TerminalLine.clear() }
    return try body()
  }
}
