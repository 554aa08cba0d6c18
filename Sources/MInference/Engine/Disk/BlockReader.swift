package import Compute
package import Files

/// Blocks of files, read and checked by threads of their own into staging memory.
///
/// Blocks are handed out in their order; threads read ahead as far as there is memory. A block's checksum
/// is computed by the thread that has just read it.
package final class BlockReader: Sendable {
  /// Bytes of a file, and the checksum that they should have.
  package struct Request: Sendable {
    package let file: FileReader
    package let bytes: Range<Int>
    package let checksum: UInt64
    package let seed: UInt64

    package init(file: FileReader, bytes: Range<Int>, checksum: UInt64, seed: UInt64) {
      self.file = file
      self.bytes = bytes
      self.checksum = checksum
      self.seed = seed
    }
  }

  package enum Outcome {
    case block(any StagingMemory)
    /// The next block cannot be read, or has another checksum.
    case damaged
    /// The next block is not there yet.
    case waiting
  }

  private struct State {
    var idle: [any StagingMemory]
    /// The next block that no thread has begun.
    var nextRead = 0
    /// The next block to be handed out.
    var nextResult = 0
    /// Blocks that were read; nil: damaged.
    var results: [Int: (any StagingMemory)?] = [:]
    var isEnded = false
  }

  private let requests: [Request]
  private let pool: StagingPool
  private let monitor: Monitor<State>

  /// - Throws: ``LanguageModelError/noThread(reason:)`` where not one thread can be had.
  package init(_ requests: [Request], threads: Int, pool: StagingPool) throws {
    self.requests = requests
    self.pool = pool
    monitor = Monitor(State(idle: pool.takeAll()))
    for thread in 0..<max(1, min(threads, requests.count)) {
      do {
        try WorkerThread.start { [self] in run() }
      } catch  where thread > 0 {
        break
      } catch {
        end()
        throw error
      }
    }
  }

  /// The next block.
  ///
  /// - Parameter seconds: How long to wait for it.
  package func next(waiting seconds: Double) -> Outcome {
    monitor.wait(atMost: seconds) { state -> Outcome? in
      guard let result = state.results.removeValue(forKey: state.nextResult) else { return nil }
      state.nextResult += 1
      return result.map(Outcome.block) ?? .damaged
    } ?? .waiting
  }

  /// Whether ``next(waiting:)`` has something at once.
  package var isReady: Bool { monitor.change { $0.results[$0.nextResult] != nil } }

  /// Takes back memory that was handed out and is not in use any more.
  package func giveBack(_ memory: any StagingMemory) {
    let isEnded = monitor.change { state in
      if !state.isEnded { state.idle.append(memory) }
      return state.isEnded
    }
    if isEnded { pool.giveBack(memory) }
  }

  /// Ends the reading. What threads have in hand goes back to the pool as they come to their ends.
  package func end() {
    let memory = monitor.change { state in
      state.isEnded = true
      defer {
        state.idle = []
        state.results = [:]
      }
      return state.idle + state.results.values.compactMap { $0 }
    }
    memory.forEach(pool.giveBack)
  }

  private func run() {
    while let (index, memory) = claim() {
      let request = requests[index]
      let bytes = UnsafeMutableRawBufferPointer(start: memory.start, count: request.bytes.count)
      let isWhole =
        (try? request.file.read(into: bytes, at: request.bytes.lowerBound)) != nil
        && BlockChecksum.of(UnsafeRawBufferPointer(bytes), seed: request.seed)
          == request.checksum
      let isUnused = monitor.change { state in
        if state.isEnded { return true }
        state.results[index] = .some(isWhole ? memory : nil)
        return !isWhole
      }
      if isUnused { giveBack(memory) }
    }
  }

  /// The next block that is to be read, and memory for it; nil at the end.
  private func claim() -> (Int, any StagingMemory)? {
    let claim = monitor.wait { state -> (Int, (any StagingMemory)?)? in
      if state.isEnded || state.nextRead == requests.count { return (0, nil) }
      guard let memory = state.idle.popLast() else { return nil }
      defer { state.nextRead += 1 }
      return (state.nextRead, memory)
    }
    guard let claim, let memory = claim.1 else { return nil }
    return (claim.0, memory)
  }
}
