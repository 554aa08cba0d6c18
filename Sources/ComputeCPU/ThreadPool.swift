internal import CKernels

/// Worker threads for kernels, apart from Swift's cooperative pool, which long kernels would starve.
final class ThreadPool: Sendable {
  private nonisolated(unsafe) let pool: OpaquePointer

  /// Threads that a run uses, the caller's among them.
  var threads: Int { Int(mi_pool_threads(pool)) }

  init?(threads: Int) {
    guard let pool = mi_pool_create(Int32(clamping: threads)) else { return nil }
    self.pool = pool
  }

  deinit { mi_pool_destroy(pool) }

  /// Runs body(index, thread) for every index below `count`, started in ascending order; returns
  /// when all have ended. `thread` is below ``threads`` and names what scratch memory is free.
  func run(_ count: Int, _ body: (_ index: Int, _ thread: Int) -> Void) {
    withoutActuallyEscaping(body) { body in
      var task = Task(body: body)
      withUnsafeMutablePointer(to: &task) { task in
        mi_pool_run(
          pool, Int64(count),
          { context, index, thread in
            context?.assumingMemoryBound(to: Task.self).pointee.body(Int(index), Int(thread))
          }, task)
      }
    }
  }

  /// Splits 0 ..< count in one contiguous range for each thread (at least `minimum` long).
  func split(_ count: Int, minimum: Int = 1, _ body: (Range<Int>) -> Void) {
    let pieces = max(1, min(threads, count / max(1, minimum)))
    run(pieces) { piece, _ in
      let range = count * piece / pieces..<count * (piece + 1) / pieces
      if !range.isEmpty { body(range) }
    }
  }

  private struct Task {
    let body: (Int, Int) -> Void
  }
}
