public import Compute
public import SparseAttention

/// The keys and values of one sequence, in all layers.
///
/// A cache belongs to one sequence and is used by one thread at a time; sequences that run side by
/// side have a cache each. Made by ``Transformer/makeCache(capacity:type:sequenceLength:)``.
public final class KeyValueCache {
  /// Positions for which there is room.
  public let capacity: Int
  /// Positions 0 ..< count are there in every layer.
  public internal(set) var count = 0
  /// float32 or bfloat16.
  public let type: DataType
  /// The length that decided the rotary frequencies; nil before the first token.
  public private(set) var sequenceLength: Int?
  private let givenSequenceLength: Int?
  /// What static patterns begin a new sequence with: the indices of a calibration prompt.
  public var calibratedSelections = SelectionMemory.Selections()
  /// Indices that static patterns keep from their first estimation.
  let selectionMemory = SelectionMemory()
  /// What decoding writes its intermediate results to, kept from token to token.
  var decodeWorkspace: RowWorkspace?
  private let tensors: [(keys: Tensor, values: Tensor)]

  init(
    layers: Int, shape: AttentionShape, capacity: Int, type: DataType, sequenceLength: Int?,
    backend: any Backend
  ) throws {
    guard capacity > 0 else {
      throw TransformerError.invalidOption(
        name: "the cache's capacity", value: "\(capacity)", allowed: "at least 1")
    }
    guard type == .float32 || type == .bfloat16 else {
      throw TransformerError.invalidOption(
        name: "the cache's type", value: type.rawValue, allowed: "float32 or bfloat16")
    }
    self.capacity = capacity
    self.type = type
    self.sequenceLength = sequenceLength
    givenSequenceLength = sequenceLength
    let extents = [shape.keyValueHeads, capacity, shape.headDim]
    let purpose = "the keys and values of \(capacity) tokens"
    tensors = try (0..<layers).map { _ in
      (
        try backend.makeTensor(type, extents, purpose: purpose),
        try backend.makeTensor(type, extents, purpose: purpose)
      )
    }
  }

  /// Memory that keys and values take.
  public var byteCount: Int { tensors.reduce(0) { $0 + $1.keys.byteCount + $1.values.byteCount } }

  /// Number of layers.
  var layerCount: Int { tensors.count }

  /// One layer, of which positions 0 ..< count are, or are about to be, written.
  func layer(_ layer: Int, count: Int) -> KeyValueLayer {
    KeyValueLayer(keys: tensors[layer].keys, values: tensors[layer].values, count: count)
  }

  /// The sequence's length for the rotary frequencies, now that so many tokens are added. The first
  /// tokens decide it; a first prefill that came to nothing leaves no trace.
  func lengthOfSequence(adding tokens: Int) -> Int {
    if count == 0 { selectionMemory.selections = calibratedSelections }
    let length =
      count == 0 ? givenSequenceLength ?? tokens : sequenceLength ?? count + tokens
    sequenceLength = length
    return length
  }

  /// Forgets all positions from `count` on, so that another continuation can be read. Rotary
  /// frequencies stay as they were decided, unless nothing is left.
  public func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count)
    self.count = count
  }
}
