import Compute
import Transformers

/// Putting sequences on disk: while nothing else is to be done, and before memory is given up.
extension Engine {
  enum StoringProgress {
    case advanced
    /// A thread is writing; it wakes the engine.
    case waiting
    case nothing
  }

  /// Seconds for which a disk that failed is left alone.
  private static let diskPauseSeconds = 30.0

  /// Gives up the end of a sequence, unless it is to be written to disk first.
  ///
  /// - Returns: false where it is to be written: who wants the memory waits.
  func giveUp(_ leaf: PrefixNode) -> Bool {
    if isToBeStored(leaf), !isDiskPaused {
      wantedMemory = leaf
      return false
    }
    prefixes.remove(leaf)
    return true
  }

  /// Whether the end of a sequence is not on disk, and long enough for it.
  func isToBeStored(_ leaf: PrefixNode) -> Bool {
    guard let directory, !leaf.isStored else { return false }
    return leaf.end >= directory.leastTokens && leaf.tokens.count >= directory.leastSegment
  }

  /// Whether something is to be written beside what else is done: a request waits for its memory, or one is
  /// likely to do so soon.
  var storesBeside: Bool { wantedMemory != nil || usedBytes > memoryBudget / 4 * 3 }

  /// Copies blocks of what is to be written, for at most so long: what somebody waits for goes first.
  func store(for seconds: Double) -> StoringProgress {
    guard let directory, !isDiskPaused else { return .nothing }
    do {
      guard let writing = try storing ?? beginStoring(in: directory) else { return .nothing }
      storing = writing
      switch try writing.advance(prefixes, until: .now + .seconds(seconds)) {
      case .advanced: return .advanced
      case .waiting: return .waiting
      case .lost: storing = nil
      case .inUse:
        // A prompt that goes on in the cache ends some time; whoever waits has waited long enough.
        guard let wantedMemory else { return .waiting }
        storing = nil
        wantedMemory.isStored = true
      case .failed(let reason):
        storing = nil
        noteDiskFailure(reason)
      case .written:
        storing = nil
        switch directory.add(path: writing.path, behind: writing.plan.parent) {
        case .added:
          diskHasFailed = false
          writing.plan.superseded.forEach(directory.remove)
        case .orphaned: break
        case .missing: noteDiskFailure("what was written is not there")
        }
      }
    } catch {
      storing = nil
      noteDiskFailure("\(error)")
    }
    return .advanced
  }

  private func beginStoring(in directory: PrefixDirectory) throws -> PrefixWriting? {
    while let leaf = wantedMemory.flatMap({ $0.isStored ? nil : $0 })
      ?? prefixes.unstored(atLeast: directory.leastTokens)
    {
      guard
        let plan = PrefixWriting.Plan(
          leaf, of: prefixes, in: directory, transformer: model.transformer)
      else {
        leaf.isStored = true
        continue
      }
      return try PrefixWriting(
        plan, in: directory, transformer: model.transformer, secondsPerToken: secondsPerToken,
        wake: { [inbox] in inbox.wake() })
    }
    return nil
  }

  /// Leaves the disk alone for a while. It is said once, until the disk takes something again.
  func noteDiskFailure(_ reason: String) {
    metrics.diskFailures += 1
    diskPauseEnd = .now + .seconds(Self.diskPauseSeconds)
    guard !diskHasFailed, let directory else { return }
    diskHasFailed = true
    options.notice?(
      "\(directory.options.path): prefixes are not kept on disk for now (\(reason)); see to the "
        + "disk, everything else goes on")
  }

  /// Seconds that computing a token of a prompt takes on average; 0: too few were computed.
  private var secondsPerToken: Double {
    let tokens = metrics.computedTokens
    return tokens >= 1024 ? metrics.prefillSeconds / Double(tokens) : 0
  }

  var isDiskPaused: Bool { diskPauseEnd.map { ContinuousClock.now < $0 } ?? false }
}
