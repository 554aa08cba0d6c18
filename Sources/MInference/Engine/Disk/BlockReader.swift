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

  /// What threads wait for.
  private struct Work {
    var idle: [any StagingMemory]
    /// The next block that no thread has begun.
    var next = 0
    var isEnded = false
  }

  /// What the owner waits for.
  private struct Results {
    /// The next block to be handed out.
    var next = 0
    /// Blocks that were read; nil: damaged.
    var blocks: [Int: (any StagingMemory)?] = [:]
    var isEnded = false
  }

  private let requests: [Request]
  private let pool: StagingPool
  private let work: Monitor<Work>
  private let results = Monitor(Results())

  /// - Throws: ``LanguageModelError/noThread(reason:)`` where not one thread can be had.
  package init(_ requests: [Request], threads: Int, pool: StagingPool) throws {
    self.requests = requests
    self.pool = pool
    work = Monitor(Work(idle: pool.takeAll()))
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
    results.wait(atMost: seconds) { results -> Outcome? in
      guard let block = results.blocks.removeValue(forKey: results.next) else { return nil }
      results.next += 1
      return block.map(Outcome.block) ?? .damaged
    } ?? .waiting
  }

  /// Whether ``next(waiting:)`` has something at once.
  package var isReady: Bool { results.withLock { $0.blocks[$0.next] != nil } }

  /// Takes back memory that was handed out and is not in use any more.
  package func giveBack(_ memory: any StagingMemory) {
    let isEnded = work.withLock(wakesAll: false) { work in
      if !work.isEnded { work.idle.append(memory) }
      return work.isEnded
    }
    if isEnded { pool.giveBack(memory) }
  }

  /// Ends the reading. What threads have in hand goes back to the pool as they come to their ends.
  package func end() {
    var memory = work.withLock { work in
      work.isEnded = true
      defer { work.idle = [] }
      return work.idle
    }
    memory += results.withLock { results in
      results.isEnded = true
      defer { results.blocks = [:] }
      return results.blocks.values.compactMap { $0 }
    }
    memory.forEach(pool.giveBack)
  }

  private func run() {
    while let (index, memory) = claim() {
      let isWhole = read(requests[index], into: memory.start)
      let isUnused = results.withLock { results in
        if results.isEnded { return true }
        results.blocks[index] = .some(isWhole ? memory : nil)
        return !isWhole
      }
      if isUnused { giveBack(memory) }
    }
  }

  /// - Returns: false where the block cannot be read or is not what it should be.
  private func read(_ request: Request, into start: UnsafeMutableRawPointer) -> Bool {
    let bytes = UnsafeMutableRawBufferPointer(start: start, count: request.bytes.count)
    var checksum = BlockChecksum(seed: request.seed, byteCount: bytes.count)
    for first in stride(from: 0, to: bytes.count, by: Self.partBytes) {
      let part = UnsafeMutableRawBufferPointer(
        rebasing: bytes[first..<min(first + Self.partBytes, bytes.count)])
      do {
        try request.file.read(into: part, at: request.bytes.lowerBound + first)
      } catch {
        return false
      }
      checksum.add(UnsafeRawBufferPointer(part))
    }
    return checksum.value == request.checksum
  }

  /// Bytes that are read at once: they are still in the processor's cache for the checksum.
  private static let partBytes = 256 << 10

  /// The next block that is to be read, and memory for it; nil at the end.
  private func claim() -> (Int, any StagingMemory)? {
    work.wait { work -> (Int, any StagingMemory)?? in
      if work.isEnded || work.next == requests.count { return .some(nil) }
      guard let memory = work.idle.popLast() else { return nil }
      defer { work.next += 1 }
      return (work.next, memory)
    }
  }
}
