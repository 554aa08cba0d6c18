/// How a sequence's keys and values are to be stored.
public struct KeyValueOptions: Sendable, Hashable {
  /// Where they lie between uses.
  public enum Place: String, Sendable, Hashable, CaseIterable {
    /// Where the kernels run.
    case device
    /// In the memory of the processor; a device fetches them layer by layer.
    case host
  }

  /// The number format; nil for the backend's own choice.
  public var type: DataType?
  /// nil for the backend's own choice.
  public var place: Place?

  public init(type: DataType? = nil, place: Place? = nil) {
    self.type = type
    self.place = place
  }
}

/// What a layer's keys and values are fetched for.
public enum KeyValueAccess: Sendable {
  /// Many new rows, whose attention comes next: ``Backend/attention(q:firstPosition:layer:shape:index:into:logSumExp:)``.
  case prefill
  /// One new row: ``Backend/rowAttention(q:positions:layer:shape:into:logSumExp:)``.
  case decode
  /// Copying: what is kept is shown as it is kept, and what is written is kept as it is.
  case transfer
}

/// Memory of keys and values, which several stores may have in common.
public protocol KeyValueMemory: AnyObject {
  /// Bytes that it takes, whoever has it.
  var byteCount: Int { get }
}

/// What a new store has in common with others.
public enum KeyValueSharing {
  /// Its memory is its own for ever.
  case none
  /// Later stores may begin with its first positions: about as many as `common`.
  case possible(common: Int)
  /// It begins with the first `count` positions of a store of the same backend, in the same memory: as many as
  /// ``KeyValueStore/shareable(_:)`` of that store names. Neither writes there from now on. Later stores may begin with
  /// its first positions.
  case beginning(any KeyValueStore, count: Int)

  /// Positions that the new store has from another one.
  public var count: Int {
    if case .beginning(_, let count) = self { count } else { 0 }
  }

  /// The error of a store of `extents` [keyValueHeads, capacity, headDim] that cannot begin like that.
  package func mismatch(_ extents: [Int]) -> ComputeError {
    .shapeMismatch(
      operation: "makeKeyValueStore",
      detail: "\(count) positions of another store cannot begin one of \(extents)")
  }
}

/// The keys and values of one sequence in all layers: where they lie and in which format.
///
/// A layer is opened, read and written by kernels, and closed before the next one is opened. Used by
/// one thread at a time.
public protocol KeyValueStore: KeyValueMemory {
  var layers: Int { get }
  /// Positions for which there is room.
  var capacity: Int { get }
  /// The number format between uses.
  var type: DataType { get }
  var place: KeyValueOptions.Place { get }
  /// Memory that keys and values take, wherever they lie, also with others.
  var byteCount: Int { get }
  /// What that memory consists of. A piece that several stores have in common is in the list of each.
  var memory: [any KeyValueMemory] { get }
  /// Positions at the beginning that are in memory of another store as well.
  var sharedCount: Int { get }

  /// Of the first `count` positions, how many another store can have in the same memory.
  func shareable(_ count: Int) -> Int

  /// The layer, of which positions 0 ..< `kept` hold what was stored before and positions up to
  /// `count` are about to be stored.
  func open(
    layer: Int, kept: Int, count: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer

  /// Ends the use that ``open(layer:kept:count:for:)`` began; positions kept ..< count are kept
  /// from now on. A use that failed is ended with `count` = `kept`: nothing more is kept.
  func close(layer: Int, kept: Int, count: Int) throws
}

extension KeyValueStore {
  /// The store itself.
  public var memory: [any KeyValueMemory] { [self] }
  /// None.
  public var sharedCount: Int { 0 }
  /// None.
  public func shareable(_ count: Int) -> Int { 0 }
}

/// Keys and values as two tensors a layer, always in place.
public final class TensorKeyValueStore: KeyValueStore {
  public let type: DataType
  public let place = KeyValueOptions.Place.device
  private let tensors: [(keys: Tensor, values: Tensor)]

  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` for a format or a place that the backend
  ///   does not have; ``ComputeError/shapeMismatch(operation:detail:)`` for a beginning in another store, which is not
  ///   possible here; out of memory.
  public init(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing = .none,
    backend: any Backend
  ) throws {
    if case .beginning = sharing { throw sharing.mismatch(extents) }
    type = options.type ?? backend.activationType
    guard type == .float32 || type == .bfloat16 else {
      throw ComputeError.unavailable(
        what: "a cache of \(type.rawValue) on the device \(backend.name)",
        remedy: Remedy(use: .float32KeyValues, .bfloat16KeyValues))
    }
    let purpose = "the keys and values of \(extents[1]) tokens"
    let type = type
    tensors = try (0..<layers).map { _ in
      (
        try backend.makeTensor(type, extents, purpose: purpose),
        try backend.makeTensor(type, extents, purpose: purpose)
      )
    }
  }

  public var layers: Int { tensors.count }
  public var capacity: Int { tensors.first?.keys.shape[1] ?? 0 }
  public var byteCount: Int { tensors.reduce(0) { $0 + $1.keys.byteCount + $1.values.byteCount } }

  public func open(
    layer: Int, kept: Int, count: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    KeyValueLayer(keys: tensors[layer].keys, values: tensors[layer].values, count: count)
  }

  public func close(layer: Int, kept: Int, count: Int) {}
}
