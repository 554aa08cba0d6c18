#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Seconds for which processors have worked, whatever else they did meanwhile.
enum ProcessorTime {
  /// For the calling thread.
  static func ofThread() -> Double { seconds(CLOCK_THREAD_CPUTIME_ID) }

  /// For all threads of this process.
  static func ofProcess() -> Double { seconds(CLOCK_PROCESS_CPUTIME_ID) }

  private static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
  }
}
