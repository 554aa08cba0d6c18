internal import Compute

/// Memory of a GPU. What is not another's comes from the driver's stream-ordered pool: freeing gives it back to the
/// pool behind the work that was given before, so no one waits.
final class DeviceMemory: DeviceBuffer, @unchecked Sendable {
  let device: CUDADevice
  let address: UInt64
  let byteCount: Int
  /// The factor of each row, float32, where these are inputs of linear layers as rows of float8.
  let rowScales: Tensor?
  /// Whose memory it is; nil: its own, from the pool.
  private let owner: (any AnyObject & Sendable)?

  /// - Throws: `ComputeError.outOfMemory`; memory behind the size is up to 256 bytes larger.
  init(
    _ byteCount: Int, on device: CUDADevice, purpose: String, rowScales: Tensor? = nil
  ) throws {
    self.device = device
    self.byteCount = byteCount
    self.rowScales = rowScales
    owner = nil
    var address: UInt64 = 0
    try device.activate()
    // Sixteen-byte loads may look past the end of a short last row.
    let size = max(byteCount, 1) + 256
    var code = device.driver.allocate(&address, size, device.computeStream)
    if code == CUDAError.outOfMemory {
      try device.synchronize()
      _ = device.driver.trimPool(device.pool, 0)
      code = device.driver.allocate(&address, size, device.computeStream)
    }
    if code == CUDAError.outOfMemory {
      let free = try device.memory().free
      throw ComputeError.outOfMemory(
        wantedBytes: byteCount, purpose: "\(purpose) on the GPU (\(free) bytes are free)")
    }
    try device.driver.check("cuMemAllocAsync", code)
    self.address = address
    // What a recorded step writes to has to be there whenever the step is repeated.
    device.step?.keep(self)
  }

  /// Memory that lies at `address` as long as `owner` is there.
  init(borrowing address: UInt64, _ byteCount: Int, owner: SharedDeviceMemory) {
    device = owner.device
    self.address = address
    self.byteCount = byteCount
    rowScales = nil
    self.owner = owner
  }

  deinit {
    guard owner == nil else { return }
    try? device.activate()
    _ = device.driver.free(address, device.computeStream)
  }
}

/// Page-locked host memory, which the copy engines read and write beside the kernels.
final class PinnedMemory: @unchecked Sendable {
  private let device: CUDADevice
  let start: UnsafeMutableRawPointer
  let byteCount: Int

  init(_ byteCount: Int, on device: CUDADevice, purpose: String) throws {
    self.device = device
    self.byteCount = byteCount
    var pointer: UnsafeMutableRawPointer?
    try device.activate()
    let code = device.driver.allocateHost(&pointer, max(byteCount, 1), 0)
    guard code == 0, let pointer else {
      if code == CUDAError.outOfMemory || pointer == nil {
        throw ComputeError.outOfMemory(
          wantedBytes: byteCount, purpose: "\(purpose) in page-locked host memory")
      }
      throw device.driver.error("cuMemHostAlloc", code)
    }
    start = pointer
  }

  deinit {
    try? device.activate()
    _ = device.driver.freeHost(start)
  }
}
