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

  public func copy(_ tensor: Tensor, to memory: any StagingMemory, at offset: Int) throws {
    try copy(tensor, memory, offset, toDevice: false)
  }

  public func copy(_ memory: any StagingMemory, at offset: Int, to tensor: Tensor) throws {
    forgetFloat8Blocks()
    try copy(tensor, memory, offset, toDevice: true)
  }

  private func copy(
    _ tensor: Tensor, _ memory: any StagingMemory, _ offset: Int, toDevice: Bool
  ) throws {
    try device.step?.refuse("bytes of the host")
    let bytes = try memory.bytes(at: offset, for: tensor, "copy")
    guard let start = bytes.baseAddress, bytes.count > 0 else { return }
    let address = try address(tensor, "copy")
    try device.activate()
    let code =
      toDevice
      ? device.driver.copyToDevice(address, start, bytes.count, device.stream)
      : device.driver.copyToHost(start, address, bytes.count, device.stream)
    try device.driver.check("cuMemcpyAsync of staging memory", code)
    if let memory = memory as? CUDAStagingMemory {
      try memory.mark(on: device)
    } else {
      // The driver does not say when it has read memory that it knows nothing of.
      try device.synchronize()
    }
  }
}
