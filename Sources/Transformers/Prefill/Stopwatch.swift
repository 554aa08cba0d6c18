/// Adds up the seconds spent in some places.
final class Stopwatch {
  private(set) var seconds = 0.0

  /// Runs `work` and adds the time that it took, also when it throws.
  func time<Result>(_ work: () throws -> Result) rethrows -> Result {
    let start = ContinuousClock.now
    defer { seconds += (ContinuousClock.now - start).inSeconds }
    return try work()
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
