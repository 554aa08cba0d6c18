import Compute
import Files

/// Writes a segment's file on a thread of its own: the disk holds up nobody else.
///
/// The file takes its name once it is whole; a writer that is cancelled leaves nothing. It is not forced to the
/// disk: a machine that stops may leave a file that is not whole, which its checksums tell. The directory stays
/// locked until the thread has ended: nobody else opens it while a file may still appear.
final class SegmentWriter: Sendable {
  private enum Job {
    case block(any StagingMemory, byteCount: Int, seed: UInt64)
    case finish(SegmentTrailer)
  }

  private struct State {
    var jobs: [Job] = []
    /// Blocks that are written.
    var checksums: [UInt64] = []
    var outcome: Outcome?
    var isCancelled = false
    /// Whether the owner wants to know of memory that was given back.
    var isAwaited = false
    /// The directory's; nil once no file can appear any more.
    var lock: AppendedFile?
  }

  enum Outcome: Sendable {
    case written(SegmentTrailer)
    case failed(reason: String)
  }

  private let path: String
  private let layout: SegmentLayout
  private let pool: StagingPool
  private let wake: @Sendable () -> Void
  private let willWrite: @Sendable () -> Void
  private let monitor: Monitor<State>

  /// - Parameters:
  ///   - lock: The directory's.
  ///   - willWrite: Called before each block is written, and before the file takes its name.
  ///   - wake: Called where memory has come back after ``take()`` had none, and at the end.
  /// - Throws: ``LanguageModelError/noThread(reason:)``.
  init(
    path: String, layout: SegmentLayout, pool: StagingPool, lock: AppendedFile,
    willWrite: @escaping @Sendable () -> Void, wake: @escaping @Sendable () -> Void
  ) throws {
    self.path = path
    self.layout = layout
    self.pool = pool
    self.willWrite = willWrite
    self.wake = wake
    monitor = Monitor(State(lock: lock))
    try WorkerThread.start { [self] in run() }
  }

  /// Memory for the next block; nil while all is being written.
  func take() -> (any StagingMemory)? {
    if let memory = pool.take() { return memory }
    monitor.withLock { $0.isAwaited = true }
    // It may have come meanwhile.
    return pool.take()
  }

  /// Takes back memory of which nothing is to be written.
  func giveBack(_ memory: any StagingMemory) { pool.giveBack(memory) }

  /// Writes what is in the memory that was taken, behind what was written before.
  func write(_ memory: any StagingMemory, byteCount: Int, block index: Int) {
    let seed = SegmentLayout.seed(ofBlock: index)
    let isTaken = monitor.withLock { state in
      guard state.outcome == nil else { return false }
      state.jobs.append(.block(memory, byteCount: byteCount, seed: seed))
      return true
    }
    if !isTaken { pool.giveBack(memory) }
  }

  /// Adds the trailer, but for its checksums, and gives the file its name.
  func finish(_ trailer: SegmentTrailer) { monitor.withLock { $0.jobs.append(.finish(trailer)) } }

  /// nil while it goes on.
  var outcome: Outcome? { monitor.withLock { $0.outcome } }

  /// Leaves no file, also where it has its name by now.
  func cancel() {
    let isWritten = monitor.withLock { state in
      state.isCancelled = true
      if case .written = state.outcome { return true }
      return false
    }
    if isWritten { WholeFile.remove(path) }
  }

  /// Whether no file can appear any more.
  var hasEnded: Bool { monitor.withLock { $0.lock == nil } }

  private func run() {
    let outcome: Outcome
    do {
      outcome = try writeFile().map(Outcome.written) ?? .failed(reason: "cancelled")
    } catch {
      outcome = .failed(reason: (error as? FileError)?.reason ?? "\(error)")
    }
    let (jobs, isCancelled) = monitor.withLock { state in
      state.outcome = outcome
      // The owner may open the directory anew as soon as it sees the outcome.
      if !state.isCancelled { state.lock = nil }
      defer { state.jobs = [] }
      return (state.jobs, state.isCancelled)
    }
    for case .block(let memory, _, _) in jobs { pool.giveBack(memory) }
    if isCancelled {
      if case .written = outcome { WholeFile.remove(path) }
      monitor.withLock { $0.lock = nil }
    }
    wake()
  }

  /// - Returns: nil where it was cancelled.
  private func writeFile() throws -> SegmentTrailer? {
    let file = try FileReplacement(path: path, isPrivate: true, isDurable: false)
    try layout.head.withUnsafeBytes { try file.write($0) }
    while let job = monitor.wait(for: { state -> Job?? in
      if state.isCancelled { return .some(nil) }
      return state.jobs.isEmpty ? nil : .some(state.jobs.removeFirst())
    }) {
      switch job {
      case .block(let memory, let count, let seed):
        let bytes = UnsafeRawBufferPointer(start: memory.start, count: count)
        let checksum = BlockChecksum.of(bytes, seed: seed)
        do {
          willWrite()
          try file.write(bytes)
          pool.giveBack(memory)
        } catch {
          pool.giveBack(memory)
          throw error
        }
        let isAwaited = monitor.withLock { state in
          state.checksums.append(checksum)
          defer { state.isAwaited = false }
          return state.isAwaited
        }
        if isAwaited { wake() }
      case .finish(var trailer):
        trailer.checksums = monitor.withLock { $0.checksums }
        try trailer.bytes(layout).withUnsafeBytes { try file.write($0) }
        guard !monitor.withLock({ $0.isCancelled }) else { return nil }
        willWrite()
        try file.commit()
        return trailer
      }
    }
    return nil
  }
}
