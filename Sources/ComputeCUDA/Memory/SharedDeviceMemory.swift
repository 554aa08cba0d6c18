internal import Compute

/// Addresses for the keys and values of one sequence on a GPU, whose first memory other sequences may have too.
///
/// The driver maps a piece of memory wherever a sequence has it (CUDA Driver API, Virtual Memory Management). A layer is
/// mapped when it is first used, a call for each piece and head, while the kernels of the layers before it run. What is
/// freed goes back to the driver, not to the pool.
final class SharedDeviceMemory: @unchecked Sendable {
  // Unchecked: the thread that uses the sequence maps layers and looks at its pieces; tensors hold the addresses alone.
  /// What of the memory belongs together. Sequences that have it hold it.
  final class Piece: KeyValuePiece {
    let positions: Range<Int>
    let byteCount: Int
    /// The driver's handles, one for each stretch.
    fileprivate private(set) var handles: [UInt64] = []
    private let device: CUDADevice

    /// - Throws: ``ComputeError/outOfMemory(wantedBytes:purpose:)``.
    fileprivate init(
      _ positions: Range<Int>, _ extents: Extents, on device: CUDADevice, purpose: String
    ) throws {
      self.positions = positions
      self.device = device
      let bytes = positions.count * extents.rowBytes
      byteCount = bytes * extents.stretches
      for _ in 0..<extents.stretches {
        handles.append(try Self.create(bytes, on: device, purpose: purpose))
      }
    }

    deinit {
      try? device.activate()
      for handle in handles { _ = device.driver.releaseMemory(handle) }
    }

    private static func create(
      _ bytes: Int, on device: CUDADevice, purpose: String
    ) throws -> UInt64 {
      let driver = device.driver
      try device.activate()
      var handle: UInt64 = 0
      var code = driver.createMemory(&handle, bytes, properties(of: device), 0)
      if code == CUDAError.outOfMemory {
        // The pool keeps what is freed.
        try device.synchronize()
        _ = driver.trimPool(device.pool, 0)
        code = driver.createMemory(&handle, bytes, properties(of: device), 0)
      }
      if code == CUDAError.outOfMemory {
        let free = try device.memory().free
        throw ComputeError.outOfMemory(
          wantedBytes: bytes, purpose: "\(purpose) on the GPU (\(free) bytes are free)")
      }
      try driver.check("cuMemCreate", code)
      return handle
    }
  }

  /// The size of a sequence's keys and values.
  struct Extents: Equatable {
    let layers: Int
    let heads: Int
    /// Bytes of a position of one head's keys or values.
    let rowBytes: Int

    /// Keys and values of each layer, and of each head.
    var stretches: Int { layers * stretchesOfLayer }
    var stretchesOfLayer: Int { 2 * heads }
  }

  let device: CUDADevice
  let extents: Extents
  let division: KeyValuePieces
  private(set) var pieces: [Piece] = []
  private var address: UInt64 = 0
  private let byteCount: Int
  private var isMapped: [Bool]

  /// - Parameter beginning: Memory of another sequence of these extents, and how many of its pieces are to be here too.
  /// - Throws: ``ComputeError/outOfMemory(wantedBytes:purpose:)``; ``CUDAError``.
  init(
    _ extents: Extents, division: KeyValuePieces,
    behind beginning: (SharedDeviceMemory, pieces: Int)?, on device: CUDADevice, purpose: String
  ) throws {
    self.device = device
    self.extents = extents
    self.division = division
    byteCount = extents.stretches * division.capacity * extents.rowBytes
    isMapped = Array(repeating: false, count: extents.layers)
    pieces = beginning.map { Array($0.0.pieces[..<$0.pieces]) } ?? []
    for positions in division.ranges[pieces.count...] {
      pieces.append(try Piece(positions, extents, on: device, purpose: purpose))
    }
    try device.activate()
    try device.driver.check(
      "cuMemAddressReserve", device.driver.reserveAddresses(&address, byteCount, 0, 0, 0))
  }

  deinit {
    guard address != 0 else { return }
    try? device.activate()
    // Unmapping does not wait for kernels.
    _ = device.driver.synchronizeStream(device.computeStream)
    _ = device.driver.synchronizeStream(device.copyStream)
    for layer in isMapped.indices where isMapped[layer] {
      _ = device.driver.unmapMemory(start(of: layer), layerBytes)
    }
    _ = device.driver.freeAddresses(address, byteCount)
  }

  /// Positions at the beginning in pieces that another sequence has as well.
  var sharedCount: Int { pieces.sharedEnd() }

  /// Keys (0) or values (1) of a layer, which are there once the layer is mapped.
  func memory(layer: Int, part: Int) -> DeviceMemory {
    DeviceMemory(
      borrowing: start(of: layer) + UInt64(part * layerBytes / 2), layerBytes / 2, owner: self)
  }

  /// Lets a layer's memory lie at its addresses.
  ///
  /// - Throws: ``CUDAError``; the layer is not mapped then.
  func map(_ layer: Int) throws {
    guard !isMapped[layer] else { return }
    let driver = device.driver
    try device.activate()
    var mapped: [(address: UInt64, bytes: Int)] = []
    do {
      for stretch in 0..<extents.stretchesOfLayer {
        let first = start(of: layer) + UInt64(stretch * stretchBytes)
        for piece in pieces {
          let address = first + UInt64(piece.positions.lowerBound * extents.rowBytes)
          let bytes = piece.positions.count * extents.rowBytes
          let handle = piece.handles[layer * extents.stretchesOfLayer + stretch]
          try driver.check("cuMemMap", driver.mapMemory(address, bytes, 0, handle, 0))
          mapped.append((address, bytes))
        }
      }
      // For the device alone, reading and writing (CU_MEM_ACCESS_FLAGS_PROT_READWRITE).
      try driver.check(
        "cuMemSetAccess",
        driver.setAccess(start(of: layer), layerBytes, [1, Int32(device.ordinal), 3], 1))
    } catch {
      for range in mapped { _ = driver.unmapMemory(range.address, range.bytes) }
      throw error
    }
    isMapped[layer] = true
  }

  private var stretchBytes: Int { division.capacity * extents.rowBytes }
  private var layerBytes: Int { extents.stretchesOfLayer * stretchBytes }

  private func start(of layer: Int) -> UInt64 { address + UInt64(layer * layerBytes) }

  /// `CUmemAllocationProp`: memory of the device (CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_DEVICE, its number).
  private static func properties(of device: CUDADevice) -> [UInt64] {
    [1, 1 | UInt64(device.ordinal) << 32, 0, 0]
  }

  /// Bytes of which every mapped range is a multiple.
  static func granularity(on device: CUDADevice) throws -> Int {
    try device.activate()
    var bytes = 0
    // CU_MEM_ALLOC_GRANULARITY_MINIMUM
    try device.driver.check(
      "cuMemGetAllocationGranularity",
      device.driver.allocationGranularity(&bytes, properties(of: device), 0))
    return bytes
  }
}
