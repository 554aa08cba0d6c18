package import Compute

/// Staging memory that is used again and again.
package final class StagingPool: Sendable {
  private let idle: Monitor<[any StagingMemory]>
  /// Bytes of each.
  package let byteCount: Int

  package init(count: Int, byteCount: Int, on backend: any Backend, purpose: String) throws {
    self.byteCount = byteCount
    idle = Monitor(
      try (0..<count).map { _ in
        try backend.makeStagingMemory(byteCount: byteCount, purpose: purpose)
      })
  }

  /// One that nobody uses; nil if there is none.
  package func take() -> (any StagingMemory)? { idle.withLock { $0.popLast() } }

  /// All that nobody uses.
  package func takeAll() -> [any StagingMemory] {
    idle.withLock { idle in
      defer { idle = [] }
      return idle
    }
  }

  package func giveBack(_ memory: any StagingMemory) { idle.withLock { $0.append(memory) } }
}
