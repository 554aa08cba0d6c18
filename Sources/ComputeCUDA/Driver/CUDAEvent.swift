internal import Compute

/// A mark in a stream's order of work, to wait for or to measure from.
final class CUDAEvent: @unchecked Sendable {
  private let device: CUDADevice
  let handle: OpaquePointer?

  init(on device: CUDADevice) throws {
    self.device = device
    var handle: OpaquePointer?
    try device.driver.check("cuEventCreate", device.driver.createEvent(&handle, 0))
    self.handle = handle
  }

  deinit { _ = device.driver.destroyEvent(handle) }

  /// Marks what `stream` (the compute stream by default) has been given so far.
  func record(on stream: OpaquePointer? = nil) throws {
    try device.driver.check(
      "cuEventRecord", device.driver.recordEvent(handle, stream ?? device.stream))
  }

  /// Blocks the calling thread until the mark is reached.
  func wait() throws {
    try device.driver.check("cuEventSynchronize", device.driver.synchronizeEvent(handle))
  }

  /// Lets `stream` wait for the mark.
  func hold(_ stream: OpaquePointer?) throws {
    try device.driver.check("cuStreamWaitEvent", device.driver.waitForEvent(stream, handle, 0))
  }

  /// Seconds between two marks that were reached.
  func seconds(since start: CUDAEvent) throws -> Double {
    var milliseconds: Float = 0
    try device.driver.check(
      "cuEventElapsedTime", device.driver.elapsedTime(&milliseconds, start.handle, handle))
    return Double(milliseconds) / 1000
  }
}

/// Adds up device time between marks; reading the sum waits for the last mark.
final class CUDAStopwatch: WorkStopwatch {
  private let device: CUDADevice
  private var pending: [(start: CUDAEvent, end: CUDAEvent)] = []
  private var sum = 0.0

  init(on device: CUDADevice) {
    self.device = device
  }

  func time<Result>(_ work: () throws -> Result) rethrows -> Result {
    let start = mark()
    defer {
      if let start, let end = mark() { pending.append((start, end)) }
      // Events are few; a long run's are folded now and then.
      if pending.count > 4096 { _ = seconds }
    }
    return try work()
  }

  private func mark() -> CUDAEvent? {
    try? device.activate()
    let event = try? CUDAEvent(on: device)
    try? event?.record()
    return event
  }

  var seconds: Double {
    try? device.activate()
    for (start, end) in pending {
      try? end.wait()
      sum += (try? end.seconds(since: start)) ?? 0
    }
    pending = []
    return sum
  }
}
