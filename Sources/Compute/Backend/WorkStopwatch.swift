/// Adds up the time that a backend spends in some parts of its work.
public protocol WorkStopwatch: AnyObject {
  /// Runs `work` and counts the time between its first and its last operation on the device, also
  /// when it throws.
  func time<Result>(_ work: () throws -> Result) rethrows -> Result

  /// Seconds so far. On a device that works behind the caller, waits for it.
  var seconds: Double { get }
}

/// A watch for backends that finish each operation before it returns.
public final class HostStopwatch: WorkStopwatch {
  public private(set) var seconds = 0.0

  public init() {}

  public func time<Result>(_ work: () throws -> Result) rethrows -> Result {
    let start = ContinuousClock.now
    defer {
      let duration = ContinuousClock.now - start
      seconds +=
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }
    return try work()
  }
}
