public import Compute
public import SparseAttention

/// The keys and values of one sequence, in all layers.
///
/// A cache belongs to one sequence and is used by one thread at a time; sequences that run side by
/// side have a cache each. Made by `Transformer.makeCache`.
public final class KeyValueCache {
  /// Positions for which there is room.
  public let capacity: Int
  /// How the sequence uses its device's memory; nil where the device has none of its own.
  public internal(set) var memoryPlan: MemoryPlan?
  /// Positions 0 ..< count are there in every layer.
  public internal(set) var count = 0
  /// The number format in which they are kept.
  public var type: DataType { store.type }
  /// The length that decided the rotary frequencies; nil before the first token.
  public private(set) var sequenceLength: Int?
  private let givenSequenceLength: Int?
  /// [keyValueHeads, capacity, headDim] of every layer.
  let extents: [Int]
  /// What static patterns begin a new sequence with: the indices of a calibration prompt.
  public var calibratedSelections = SelectionMemory.Selections()
  /// Indices that static patterns keep from their first estimation.
  let selectionMemory = SelectionMemory()
  /// What decoding writes its intermediate results to, kept from token to token.
  var decodeWorkspace: RowWorkspace?
  private let store: any KeyValueStore

  init(
    layers: Int, shape: AttentionShape, capacity: Int, options: KeyValueOptions,
    sequenceLength: Int?, backend: any Backend
  ) throws {
    guard capacity > 0 else {
      throw TransformerError.invalidOption(
        name: "the cache's capacity", value: "\(capacity)", allowed: "at least 1")
    }
    if let type = options.type, type == .float16 || type == .int32 {
      throw TransformerError.invalidOption(
        name: "the cache's type", value: type.rawValue, allowed: "float32, bfloat16 or float8")
    }
    self.capacity = capacity
    self.sequenceLength = sequenceLength
    givenSequenceLength = sequenceLength
    extents = [shape.keyValueHeads, capacity, shape.headDim]
    store = try backend.makeKeyValueStore(layers: layers, extents: extents, options: options)
  }

  /// Memory that keys and values take.
  public var byteCount: Int { store.byteCount }

  /// Where they lie between uses.
  public var place: KeyValueOptions.Place { store.place }

  /// Number of layers.
  var layerCount: Int { store.layers }

  /// Runs `body` on one layer, of which positions 0 ..< `count` are, or are about to be, written:
  /// those from ``count`` on by `body`, before it reads them.
  func withLayer<Result>(
    _ layer: Int, count: Int, for access: KeyValueAccess, body: (KeyValueLayer) throws -> Result
  ) throws -> Result {
    let kept = self.count
    let opened = try store.open(layer: layer, kept: kept, count: count, for: access)
    let result = try body(opened)
    try store.close(layer: layer, kept: kept, count: count)
    return result
  }

  /// The sequence's length for the rotary frequencies, now that so many tokens are added. The first
  /// tokens decide it; a first prefill that came to nothing leaves no trace.
  func lengthOfSequence(adding tokens: Int) -> Int {
    if count == 0 { selectionMemory.selections = calibratedSelections }
    let length =
      count == 0
      ? max(givenSequenceLength ?? 0, tokens) : sequenceLength ?? count + tokens
    sequenceLength = length
    return length
  }

  /// Empties the cache for what comes from a file: positions whose frequencies a sequence of this
  /// length decided.
  func beginRestoring(sequenceLength: Int) {
    count = 0
    self.sequenceLength = sequenceLength
    selectionMemory.selections = calibratedSelections
  }

  /// Forgets all positions from `count` on, so that another continuation can be read. Rotary
  /// frequencies stay as they were decided, unless nothing is left.
  public func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count)
    self.count = count
  }
}
