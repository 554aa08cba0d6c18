internal import Compute

/// Keys and values of one sequence on a GPU: bfloat16 or float8, on the device or in page-locked
/// host memory.
///
/// Attention of a prefill reads bfloat16. A layer that is kept in another form is therefore worked on
/// in one staging layer and put away when it is closed: quantised with a factor for each head, copied
/// to the host beside the next layer's kernels. Decoding reads float8 as it is; from the host, layers
/// come back one ahead of their use.
///
/// Memory of a long sequence of bfloat16 on the device may be shared with others.
final class CUDAKeyValueStore: KeyValueStore {
  let type: DataType
  let place: KeyValueOptions.Place
  let layers: Int
  let extents: [Int]
  private let backend: CUDABackend
  /// Layers on the device, in the kept form; none if they are kept by the host.
  private var kept: [KeyValueLayer] = []
  /// Where they lie, if others may have the same memory.
  private var shared: SharedDeviceMemory?
  private var host: HostKeyValueLayers?
  /// Where prefill works: bfloat16; nil if the kept form is that.
  private var staging: KeyValueLayer?
  /// What the open layer was fetched for.
  private var access = KeyValueAccess.prefill

  init(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing,
    backend: CUDABackend
  ) throws {
    type = options.type ?? .bfloat16
    place = options.place ?? .device
    self.layers = layers
    self.extents = extents
    self.backend = backend
    guard type == .bfloat16 || type == .float8 else {
      throw ComputeError.unavailable(
        what: "a cache of \(type.rawValue) on a GPU",
        remedy: Remedy(use: .bfloat16KeyValues, .float8KeyValues))
    }
    let purpose = "the keys and values of \(extents[1]) tokens"
    func layer(_ type: DataType) throws -> KeyValueLayer {
      KeyValueLayer(
        keys: try backend.makeTensor(type, extents, purpose: purpose),
        values: try backend.makeTensor(type, extents, purpose: purpose), count: 0,
        scales: type == .float8
          ? try backend.makeTensor(.float32, [2, extents[0]], purpose: purpose) : nil)
    }
    if let memory = try sharedMemory(for: sharing, purpose: purpose) {
      let shape = [extents[0], memory.division.capacity, extents[2]]
      kept = (0..<layers).map { layer in
        KeyValueLayer(
          keys: Tensor(buffer: memory.memory(layer: layer, part: 0), type: type, shape: shape),
          values: Tensor(buffer: memory.memory(layer: layer, part: 1), type: type, shape: shape),
          count: 0)
      }
      shared = memory
      return
    }
    if type == .float8 { staging = try layer(.bfloat16) }
    switch place {
    case .device: kept = try (0..<layers).map { _ in try layer(type) }
    case .host:
      host = try HostKeyValueLayers(
        layers: layers, slots: [try layer(type), try layer(type)], backend: backend,
        purpose: purpose)
    }
  }

  var capacity: Int { extents[1] }

  var byteCount: Int {
    shared?.pieces.reduce(0) { $0 + $1.byteCount }
      ?? 2 * layers * extents.reduce(type.byteCount, *)
  }

  var memory: [any KeyValueMemory] { shared?.pieces ?? [self] }
  var sharedCount: Int { shared?.sharedCount ?? 0 }

  func shareable(_ count: Int) -> Int { shared?.division.filledEnd(by: count) ?? 0 }

  /// Sequences of fewer granules of memory a head are copied: what two of them have in common is soon less than the
  /// memory that one alone has.
  private static let leastGranules = 8

  /// - Returns: nil where the sequence has to be in memory of its own.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for a beginning that is none; out of memory.
  private func sharedMemory(
    for sharing: KeyValueSharing, purpose: String
  ) throws -> SharedDeviceMemory? {
    let size = SharedDeviceMemory.Extents(
      layers: layers, heads: extents[0], rowBytes: extents[2] * type.byteCount)
    var beginning: (SharedDeviceMemory, pieces: Int)?
    var bulk = 0
    switch sharing {
    case .none: return nil
    case .possible(let common):
      guard backend.device.mapsMemory, type == .bfloat16, place == .device else { return nil }
      bulk = common
    case .beginning(let store, let count):
      guard let memory = (store as? CUDAKeyValueStore)?.shared, memory.extents == size,
        type == .bfloat16, place == .device, memory.device === backend.device,
        count <= extents[1], count == store.shareable(count)
      else { throw sharing.mismatch(extents) }
      beginning = (memory, memory.division.filled(by: count))
    }
    let granule = try SharedDeviceMemory.granularity(on: backend.device)
    let unit = granule / size.rowBytes
    guard
      beginning != nil
        || granule.isMultiple(of: size.rowBytes) && extents[1] >= Self.leastGranules * unit
    else { return nil }
    let ends = beginning.map { $0.0.division.ranges[..<$0.pieces].map(\.upperBound) } ?? []
    return try SharedDeviceMemory(
      size,
      division: KeyValuePieces(
        behind: ends, capacity: extents[1], unit: unit, division: .bulkAndRest(bulk)),
      behind: beginning, on: backend.device, purpose: purpose)
  }

  func open(
    layer: Int, kept count: Int, count end: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    // The first rows decide the factors, however they come.
    let access = count == 0 && access == .decode ? KeyValueAccess.prefill : access
    self.access = access
    try shared?.map(layer)
    var stored = try host?.fetch(layer, count: count, after: access != .prefill) ?? kept[layer]
    stored.count = end
    guard access == .prefill, var staging else { return stored }
    if count > 0 { try backend.dequantize(stored, positions: 0..<count, into: staging) }
    staging.count = end
    return staging
  }

  func close(layer: Int, kept count: Int, count end: Int) throws {
    let stored = host?.current(layer) ?? kept[layer]
    // Decoding wrote its row where it is kept; a prefill's rows, though it be one, wait in the
    // staging layer.
    if let staging, access == .prefill, end > count {
      if count == 0 { try backend.measureScales(of: staging, count: end, for: stored) }
      try backend.quantize(staging, positions: count..<end, into: stored, at: count)
    }
    try host?.putAway(layer, positions: count..<end)
  }
}
