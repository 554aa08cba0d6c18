internal import CSystemCalls
internal import Compute

/// Keys and values in pages that several sequences may have in common.
final class SharedKeyValueStore: KeyValueStore {
  let capacity: Int
  let type: DataType
  let place = KeyValueOptions.Place.device
  private let pages: SharedPages
  private let tensors: [(keys: Tensor, values: Tensor)]

  /// Pieces of a sequence that shares nothing yet. What two sequences have in common is rounded down to them.
  private static let pieceCount = 16
  /// A sequence of fewer bytes is copied sooner than it is shared.
  private static let leastBytes = 1 << 20
  /// Less is not compared with what the system has left.
  private static let uncheckedBytes = 64 << 20

  /// - Parameter freeBytes: What the system has left; nil: it does not say.
  /// - Returns: nil where such a sequence has to be in memory of its own.
  /// - Throws: ``ComputeError/shapeMismatch(operation:detail:)`` for a beginning that is none; out of memory.
  init?(
    layers: Int, extents: [Int], type: DataType, sharing: KeyValueSharing, freeBytes: Int?
  ) throws {
    let (heads, capacity, dim) = (extents[0], extents[1], extents[2])
    let size = SharedPages.Extents(
      stretches: 2 * layers * heads, rowBytes: dim * type.byteCount)
    let purpose = "the keys and values of \(capacity) tokens"
    var beginning: (SharedPages, pieces: Int)?
    switch sharing {
    case .none: return nil
    case .possible:
      let (bytes, overflow) = capacity.multipliedReportingOverflow(
        by: size.stretches * size.rowBytes)
      guard !overflow, bytes >= Self.leastBytes, csystem_can_share_pages() else { return nil }
    case .beginning(let store, let count):
      guard let store = store as? SharedKeyValueStore, store.pages.extents == size,
        store.type == type, store.tensors.count == layers, count <= capacity,
        count == store.shareable(count)
      else { throw sharing.mismatch(extents) }
      beginning = (store.pages, store.pages.division.filled(by: count))
    }
    let shared = beginning.map { $0.0.division.ranges[..<$0.pieces].map(\.upperBound) } ?? []
    let division = KeyValuePieces(
      behind: shared, capacity: capacity, unit: size.unit,
      division: .equal(Self.pieceCount))
    // Pages are taken as they are first written: what cannot be had shows here, and not then.
    let wanted = (division.capacity - (shared.last ?? 0)) * size.stretches * size.rowBytes
    if let freeBytes, wanted > max(freeBytes, Self.uncheckedBytes) {
      throw ComputeError.outOfMemory(wantedBytes: wanted, purpose: purpose)
    }
    let pages = try SharedPages(size, division: division, behind: beginning, purpose: purpose)
    let shape = [heads, division.capacity, dim]
    let bytes = heads * division.capacity * size.rowBytes
    tensors = (0..<layers).map { layer in
      func tensor(_ index: Int) -> Tensor {
        Tensor(
          buffer: HostBuffer(
            borrowing: UnsafeRawBufferPointer(
              start: pages.start + (2 * layer + index) * bytes, count: bytes), owner: pages),
          type: type, shape: shape)
      }
      return (tensor(0), tensor(1))
    }
    self.pages = pages
    self.capacity = capacity
    self.type = type
  }

  var layers: Int { tensors.count }
  var byteCount: Int { pages.pieces.reduce(0) { $0 + $1.byteCount } }
  var memory: [any KeyValueMemory] { pages.pieces }
  var sharedCount: Int { pages.sharedCount }

  func shareable(_ count: Int) -> Int {
    pages.hasRoomForMappings ? pages.division.filledEnd(by: count) : 0
  }

  func open(
    layer: Int, kept: Int, count: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    KeyValueLayer(keys: tensors[layer].keys, values: tensors[layer].values, count: count)
  }

  func close(layer: Int, kept: Int, count: Int) {}
}
