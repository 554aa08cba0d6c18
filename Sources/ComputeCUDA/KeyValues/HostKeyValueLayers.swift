internal import Compute

/// Layers kept in page-locked host memory, with two places on the device through which they pass in
/// turn. Copies run on a stream of their own, beside the kernels.
final class HostKeyValueLayers {
  private let backend: CUDABackend
  private let device: CUDADevice
  private let slots: [KeyValueLayer]
  /// For each layer its keys, then its values.
  private let memory: [PinnedMemory]
  /// Factors of float8 layers stay on the device: they are small.
  private let scales: [Tensor?]
  /// Behind the last copy through each slot.
  private let copied: [CUDAEvent]
  /// Behind the last kernel that used each slot.
  private let used: [CUDAEvent]
  /// Which layer each slot holds, complete.
  private var holds: [Int?] = [nil, nil]
  private let layers: Int

  init(
    layers: Int, slots: [KeyValueLayer], backend: CUDABackend, purpose: String
  ) throws {
    self.layers = layers
    self.slots = slots
    self.backend = backend
    device = backend.device
    let device = device
    let bytes = slots[0].keys.byteCount
    memory = try (0..<layers).map { _ in
      try PinnedMemory(2 * bytes, on: device, purpose: purpose)
    }
    scales = try (0..<layers).map { _ in
      try slots[0].scales.map {
        try backend.makeTensor(.float32, $0.shape, purpose: purpose)
      }
    }
    copied = try slots.map { _ in try CUDAEvent(on: device) }
    used = try slots.map { _ in try CUDAEvent(on: device) }
  }

  deinit {
    // Slots go back to the pool in the order of the compute stream, and pinned memory at once: copies on
    // the other stream must be over before that.
    try? device.activate()
    for event in copied { try? event.wait() }
  }

  /// The slot of a layer, without a copy.
  func current(_ layer: Int) -> KeyValueLayer {
    let slot = slots[layer % 2]
    return KeyValueLayer(
      keys: slot.keys, values: slot.values, count: slot.count, scales: scales[layer])
  }

  /// Brings positions 0 ..< count of a layer to the device; the compute stream waits for them. With
  /// `after`, the next layer follows at once.
  func fetch(_ layer: Int, count: Int, after: Bool) throws -> KeyValueLayer {
    backend.forgetFloat8Blocks()
    try load(layer, count: count)
    // Whatever passed through the slot before, in or out, must be over.
    try copied[layer % 2].hold(device.stream)
    // Not from the last layer to the first: that one has grown by a row since this step began.
    if after, layer + 1 < layers { try load(layer + 1, count: count) }
    return current(layer)
  }

  private func load(_ layer: Int, count: Int) throws {
    let slot = layer % 2
    guard count > 0, holds[slot] != layer else { return }
    try used[slot].hold(device.copyStream)
    try copy(layer, positions: 0..<count, toDevice: true)
    try copied[slot].record(on: device.copyStream)
    holds[slot] = layer
  }

  /// Keeps positions of a layer that kernels have just written.
  func putAway(_ layer: Int, positions: Range<Int>) throws {
    let slot = layer % 2
    try used[slot].record()
    try used[slot].hold(device.copyStream)
    try copy(layer, positions: positions, toDevice: false)
    try copied[slot].record(on: device.copyStream)
    // The next user of the slot writes other positions of another layer.
    holds[slot] = layers <= 2 ? layer : nil
  }

  private func copy(_ layer: Int, positions: Range<Int>, toDevice: Bool) throws {
    // A layer that was only read has nothing new.
    guard !positions.isEmpty else { return }
    let slot = slots[layer % 2]
    let headBytes = slot.keys.byteCount / slot.keys.shape[0]
    let rowBytes = headBytes / slot.capacity
    for (number, tensor) in [slot.keys, slot.values].enumerated() {
      let start = try backend.address(tensor, "key-value copy")
      for head in 0..<tensor.shape[0] {
        let offset = head * headBytes + positions.lowerBound * rowBytes
        let place = memory[layer].start + number * tensor.byteCount + offset
        let address = start + UInt64(offset)
        let bytes = positions.count * rowBytes
        let code =
          toDevice
          ? device.driver.copyToDevice(address, place, bytes, device.copyStream)
          : device.driver.copyToHost(place, address, bytes, device.copyStream)
        try device.driver.check("cuMemcpyAsync of keys and values", code)
      }
    }
  }
}
