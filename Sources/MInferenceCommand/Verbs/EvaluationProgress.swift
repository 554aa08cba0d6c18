import EvaluationTasks
import Synchronization

/// Progress of a run: which result of how many, and how far its prompt is read.
final class EvaluationProgress: Sendable {
  private let line = Mutex<(label: String, line: ProgressLine)?>(nil)

  func update(_ progress: EvaluationRun.Progress) {
    let label = "\(progress.done + 1)/\(progress.total) \(progress.task) \(progress.method)"
    let current = line.withLock { current in
      if let current, current.label == label { return current.line }
      current?.line.finish()
      let new = ProgressLine(label: label)
      current = (label, new)
      return new
    }
    current.update(fraction: progress.fraction, totalTokens: progress.tokens)
  }

  func finish() { line.withLock { $0?.line.finish() } }
}
