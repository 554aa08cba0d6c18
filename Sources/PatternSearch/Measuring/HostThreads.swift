import CSystem
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Spreads host work over the processors, on threads that live for one call.
///
/// Beside a dense pass that uses the whole device, measuring on one processor would take its time on
/// a machine of many. Pieces of work are milliseconds, threads cost tens of microseconds.
enum HostThreads {
  /// Runs body(index) for every index below `count`, in any order, several at once; returns when all
  /// have ended. The pieces must not write what others read or write.
  static func run(_ count: Int, _ body: (Int) -> Void) {
    let workers = min(max(1, Int(csystem_cpu_count())), count)
    guard workers > 1 else {
      for index in 0..<count { body(index) }
      return
    }
    withoutActuallyEscaping(body) { body in
      let work = Work(count: count, body: body)
      // The threads are joined before `work` and `body` end.
      let context = Unmanaged.passUnretained(work).toOpaque()
      var threads: [pthread_t] = []
      for _ in 1..<workers {
        #if canImport(Darwin)
          var thread: pthread_t?
        #else
          var thread = pthread_t()
        #endif
        // Where no thread can be had, the others do its work.
        guard pthread_create(&thread, nil, Work.start, context) == 0 else { break }
        #if canImport(Darwin)
          if let thread { threads.append(thread) }
        #else
          threads.append(thread)
        #endif
      }
      work.run()
      for thread in threads { pthread_join(thread, nil) }
    }
  }

  private final class Work {
    private let count: Int
    private let body: (Int) -> Void
    private let next = Atomic<Int>(0)

    init(count: Int, body: @escaping (Int) -> Void) {
      self.count = count
      self.body = body
    }

    func run() {
      while true {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        body(index)
      }
    }

    #if canImport(Darwin)
      static let start: @convention(c) (UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? = {
        context in
        Unmanaged<Work>.fromOpaque(context).takeUnretainedValue().run()
        return nil
      }
    #else
      static let start: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = {
        context in
        if let context { Unmanaged<Work>.fromOpaque(context).takeUnretainedValue().run() }
        return nil
      }
    #endif
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
