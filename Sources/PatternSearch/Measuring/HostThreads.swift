import CSystemCalls

/// Spreads host work over the processors, on threads that live for one call.
///
/// Beside a dense pass that uses the whole device, measuring on one processor would take its time on
/// a machine of many. Pieces of work are milliseconds, threads cost tens of microseconds.
enum HostThreads {
  /// Runs body(index) for every index below `count`, in any order, several at once; returns when all
  /// have ended. The pieces must not write what others read or write.
  static func run(_ count: Int, _ body: (Int) -> Void) {
    withoutActuallyEscaping(body) { body in
      var work = Work(body: body)
      withUnsafeMutablePointer(to: &work) { work in
        csystem_for_each(
          Int64(count),
          { context, index in
            context?.assumingMemoryBound(to: Work.self).pointee.body(Int(index))
          }, work)
      }
    }
  }

  private struct Work {
    let body: (Int) -> Void
  }

  /// The results of body(index) for every index below `count`, in order.
  static func map<Value>(_ count: Int, _ body: (Int) -> Value) -> [Value] {
    [Value](unsafeUninitializedCapacity: count) { values, initialized in
      let base = values.baseAddress
      run(count) { index in
        if let base { (base + index).initialize(to: body(index)) }
      }
      initialized = count
    }
  }
}
