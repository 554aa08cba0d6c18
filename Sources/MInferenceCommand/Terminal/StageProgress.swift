import Synchronization

/// A progress line for work in stages, each with a line of its own.
final class StageProgress: Sendable {
  private let current = Mutex<(stage: String, line: ProgressLine)?>(nil)
  private let notices: [String]

  /// - Parameter notices: Told with the first stage.
  init(notices: [String]) { self.notices = notices }

  func update(_ stage: String, fraction: Double, tokens: Int) {
    let line = current.withLock { current in
      if let current, current.stage == stage { return current.line }
      current?.line.finish()
      let new = ProgressLine(label: stage, notices: current == nil ? notices : [])
      current = (stage, new)
      return new
    }
    line.update(fraction: fraction, totalTokens: tokens)
  }

  func finish() { current.withLock { $0?.line.finish() } }
}
