public import Compute
public import SparseAttention

/// The keys and values of one sequence, in all layers of a model or in a range of them.
///
/// A cache belongs to one sequence and is used by one thread at a time; sequences that run side by
/// side have a cache each. Made by `Transformer.makeCache`.
public final class KeyValueCache {
  /// Positions for which there is room.
  public let capacity: Int
  /// How the sequence uses its device's memory; nil where the device has none of its own.
  public internal(set) var memoryPlan: MemoryPlan?
  /// The layers of the model whose keys and values are here.
  public let layers: Range<Int>
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
  public var calibratedSelections = SelectionMemory.Selections() {
    didSet { parts.forEach { $0.calibratedSelections = calibratedSelections } }
  }
  /// Indices that static patterns keep from their first estimation.
  let selectionMemory = SelectionMemory()
  /// What decoding writes its intermediate results to, kept from token to token.
  var decodeWorkspace: RowWorkspace?
  /// The decoding step that the device has recorded, for one that records.
  var decodingStep: DecodingStep?
  package let store: any KeyValueStore
  /// The caches of a pipeline's stages, of which this one is made; none: it is one by itself.
  package let parts: [KeyValueCache]
  /// Whether a prefill that has not ended fills the cache.
  var isBeingFilled = false
  /// Whether a layer is open.
  private var isOpen = false

  init(
    layers: Range<Int>, shape: AttentionShape, capacity: Int, options: KeyValueOptions,
    sequenceLength: Int?, sharing: KeyValueSharing = .none, backend: any Backend
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
    self.layers = layers
    self.sequenceLength = sequenceLength
    givenSequenceLength = sequenceLength
    parts = []
    extents = [shape.keyValueHeads, capacity, shape.headDim]
    store = try backend.makeKeyValueStore(
      layers: layers.count, extents: extents, options: options, sharing: sharing)
    count = sharing.count
  }

  /// The cache of a whole sequence from those of a pipeline's stages, in their order.
  ///
  /// - Throws: ``TransformerError/foreignCache(detail:)`` for parts that do not make a whole.
  package init(parts: [KeyValueCache]) throws {
    guard let first = parts.first, let last = parts.last,
      zip(parts, parts.dropFirst()).allSatisfy({
        $0.layers.upperBound == $1.layers.lowerBound && $0.extents == $1.extents
          && $0.type == $1.type
      })
    else { throw TransformerError.foreignCache(detail: "its parts do not make a whole") }
    self.parts = parts
    capacity = first.capacity
    layers = first.layers.lowerBound..<last.layers.upperBound
    sequenceLength = first.sequenceLength
    givenSequenceLength = first.givenSequenceLength
    extents = first.extents
    store = StagedKeyValueStore(parts: parts)
  }

  /// The part of a cache that another process keeps.
  ///
  /// - Parameter store: Stands for it; it opens no layer.
  package init(
    store: any KeyValueStore, layers: Range<Int>, shape: AttentionShape, sequenceLength: Int?
  ) {
    parts = []
    capacity = store.capacity
    self.layers = layers
    self.sequenceLength = sequenceLength
    givenSequenceLength = sequenceLength
    extents = [shape.keyValueHeads, store.capacity, shape.headDim]
    self.store = store
  }

  /// What blocks of it consist of.
  package var blockExtents: KeyValueExtents {
    KeyValueExtents(type: type, heads: extents[0], headDim: extents[2])
  }

  /// What static patterns have kept so far.
  package var keptSelections: SelectionMemory.Selections {
    get { selectionMemory.selections }
    set { selectionMemory.selections = newValue }
  }

  /// Begins a reading of so many tokens by the parts, which nobody else may disturb.
  package func beginFilling(adding tokens: Int) {
    _ = lengthOfSequence(adding: tokens)
    isBeingFilled = true
  }

  /// So many positions are there in all parts now.
  package func fill(to count: Int) { self.count = count }

  /// Ends the reading that ``beginFilling(adding:)`` began: every part keeps what all have.
  package func endFilling() {
    isBeingFilled = false
    truncate(to: count)
  }

  /// Memory that keys and values take, also with other sequences.
  public var byteCount: Int { store.byteCount }

  /// What that memory consists of. A piece that several sequences have in common is in the list of each.
  package var memory: [any KeyValueMemory] { store.memory }

  /// Positions at the beginning that are in memory of other sequences as well: they stay as they are.
  package var sharedCount: Int { store.sharedCount }

  /// Where they lie between uses.
  public var place: KeyValueOptions.Place { store.place }

  /// Opens a layer, of which positions 0 ..< `count` are, or are about to be, written: those from
  /// ``count`` on by the caller, before it reads them. One layer is open at a time.
  ///
  /// - Throws: ``TransformerError/cacheInUse``; what the store throws.
  func open(_ layer: Int, count: Int, for access: KeyValueAccess) throws -> OpenLayer {
    guard !isOpen, count == self.count || self.count >= sharedCount else {
      throw TransformerError.cacheInUse
    }
    let opened = try store.open(
      layer: layer - layers.lowerBound, kept: self.count, count: count, for: access)
    isOpen = true
    return OpenLayer(self, layer: layer, keysAndValues: opened, kept: self.count, count: count)
  }

  /// Runs `body` on an open layer. What `body` wrote is kept, unless it throws.
  func withLayer<Result>(
    _ layer: Int, count: Int, for access: KeyValueAccess, body: (KeyValueLayer) throws -> Result
  ) throws -> Result {
    let opened = try open(layer, count: count, for: access)
    let result = try body(opened.keysAndValues)
    try opened.close()
    return result
  }

  /// A layer in use. It is closed by ``close()``, or without keeping anything when it is dropped.
  final class OpenLayer {
    let keysAndValues: KeyValueLayer
    private let cache: KeyValueCache
    private let layer: Int
    private let kept: Int
    private let count: Int
    private var isOpen = true

    fileprivate init(
      _ cache: KeyValueCache, layer: Int, keysAndValues: KeyValueLayer, kept: Int, count: Int
    ) {
      self.cache = cache
      self.layer = layer
      self.keysAndValues = keysAndValues
      self.kept = kept
      self.count = count
    }

    /// Keeps what was written.
    func close() throws { try close(count: count) }

    deinit {
      // Nothing is kept: an error that this meets can harm no position that is.
      try? close(count: kept)
    }

    private func close(count: Int) throws {
      guard isOpen else { return }
      isOpen = false
      cache.isOpen = false
      try cache.store.close(layer: layer - cache.layers.lowerBound, kept: kept, count: count)
    }
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
  package func beginRestoring(sequenceLength: Int) {
    count = 0
    self.sequenceLength = sequenceLength
    selectionMemory.selections = calibratedSelections
    parts.forEach { $0.beginRestoring(sequenceLength: sequenceLength) }
  }

  /// Ends what ``beginRestoring(sequenceLength:)`` began.
  package func finishRestoring(count: Int) {
    self.count = count
    parts.forEach { $0.finishRestoring(count: count) }
  }

  /// Forgets all positions from `count` on, so that another continuation can be read. Rotary
  /// frequencies stay as they were decided, unless nothing is left.
  public func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count)
    self.count = count
    for part in parts where part.count > count { part.truncate(to: count) }
  }
}
