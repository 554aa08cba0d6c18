internal import Synchronization
public import Compute

/// Page-locked host memory with a mark behind the last copy to or from it.
///
/// The GPUs of a process all reach it.
final class CUDAStagingMemory: StagingMemory {
  private let memory: PinnedMemory
  /// Behind the last copy on each device, and whether it was waited for.
  private let marks = Mutex<[(device: CUDADevice, event: CUDAEvent, isPending: Bool)]>([])

  init(_ byteCount: Int, on device: CUDADevice, purpose: String) throws {
    memory = try PinnedMemory(byteCount, on: device, purpose: purpose)
  }

  deinit { try? wait() }

  var start: UnsafeMutableRawPointer { memory.start }
  var byteCount: Int { memory.byteCount }

  /// Marks what a device was given so far.
  func mark(on device: CUDADevice) throws {
    try marks.withLock { marks in
      let index = marks.firstIndex { $0.device === device } ?? marks.count
      if index == marks.count { marks.append((device, try CUDAEvent(on: device), false)) }
      try marks[index].event.record()
      marks[index].isPending = true
    }
  }

  func wait() throws {
    try marks.withLock { marks in
      for index in marks.indices where marks[index].isPending {
        try marks[index].device.activate()
        try marks[index].event.wait()
        marks[index].isPending = false
      }
    }
  }
}

extension CUDABackend {
  public func makeStagingMemory(
    byteCount: Int, purpose: String
  ) throws -> any StagingMemory {
    try CUDAStagingMemory(byteCount, on: device, purpose: purpose)
  }

  public func copy(_ parts: [StagedPart], to memory: any StagingMemory) throws {
    try copy(parts, memory, toDevice: false)
  }

  public func copy(_ memory: any StagingMemory, to parts: [StagedPart]) throws {
    forgetFloat8Blocks()
    try copy(parts, memory, toDevice: true)
  }

  private func copy(
    _ parts: [StagedPart], _ memory: any StagingMemory, toDevice: Bool
  ) throws {
    try device.step?.refuse("bytes of the host")
    try device.activate()
    for part in parts {
      let bytes = try memory.bytes(of: part, "copy")
      guard let start = bytes.baseAddress, bytes.count > 0 else { continue }
      let address = try address(part.tensor, "copy")
      let code =
        toDevice
        ? device.driver.copyToDevice(address, start, bytes.count, device.stream)
        : device.driver.copyToHost(start, address, bytes.count, device.stream)
      try device.driver.check("cuMemcpyAsync of staging memory", code)
    }
    if let memory = memory as? CUDAStagingMemory {
      try memory.mark(on: device)
    } else {
      // The driver does not say when it has read memory that it knows nothing of.
      try device.synchronize()
    }
  }
}
