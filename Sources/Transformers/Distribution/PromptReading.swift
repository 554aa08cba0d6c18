import Compute

/// One reading of a prompt, on one device or on several.
///
/// ``Transformer/makeReading(_:cache:options:wantsAllRows:)`` makes one. A reading is used by one
/// thread at a time and may be dropped at any time: the cache then holds the chunks that were finished.
public protocol PromptReading: AnyObject {
  /// The chunks of the prompt, as consecutive ranges of positions.
  var chunks: [Range<Int>] { get }
  /// What was done; complete once ``advance()`` has given ``PrefillRun/Progress/finished``.
  var report: PrefillReport { get }
  /// How far the reading has come.
  var progress: PrefillProgress { get }

  /// Does the next part, or waits until other devices have done it.
  ///
  /// - Throws: as ``PrefillRun/advance()``.
  func advance() throws -> PrefillRun.Progress

  /// Counts the time of `work` as the reading's: of what is made of a chunk's hidden states.
  func timed<Result>(_ work: () throws -> Result) rethrows -> Result
}

extension PrefillRun: PromptReading {}

extension PromptReading {
  /// Does all that is left.
  ///
  /// - Parameter visit: Gets the hidden states and the positions of each chunk; its time is the
  ///   prefill's.
  /// - Throws: as ``advance()``, and what `visit` throws.
  func finish(_ visit: (_ hidden: Tensor, _ chunk: Range<Int>) throws -> Void) throws {
    if let run = self as? PrefillRun { return try run.finishAlone(visit) }
    while true {
      switch try advance() {
      case .block: continue
      case .chunk(let positions, let hidden): try visit(hidden, positions)
      case .finished: return
      }
    }
  }
}
