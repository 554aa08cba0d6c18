public import Compute

/// A dense forward pass over one text, one layer after the other over all rows, for those who want to
/// look at the queries and keys of every layer.
///
/// Keys and values are held for one layer at a time, so memory beyond a block of rows is that of one
/// layer's keys and values and of the hidden states. Between layers the state is the hidden states
/// alone (``hiddenStates()``), from which a later walk may go on (``resume(atLayer:hidden:)``).
///
/// Where the layers are on several devices of this process, the walk goes from one device to the next:
/// each layer is computed where its weights are, and blocks lie there
/// (``Transformer/part(holding:)``). One device works at a time.
public struct LayerWalk {
  /// One block of rows of one layer, before attention.
  public struct Block {
    public let layer: Int
    /// Positions of the rows.
    public let positions: Range<Int>
    /// [rows, queryHeads, headDim], after rotary embedding; valid during the visit.
    public let q: Tensor
    /// [rows, hidden], before attention; valid during the visit.
    public let hidden: Tensor
    /// The layer's keys and values, of all positions; overwritten by the next layer.
    public let keysAndValues: KeyValueLayer
    public let shape: AttentionShape
  }

  /// The layer that ``advance(attending:isCancelled:visit:)`` walks through next.
  public private(set) var layer = 0
  private let model: Transformer
  private let tokens: Int
  private let keyValueType: DataType?
  private let rowBlock: Int?
  private var place: Place
  /// Of the attention kernel on the devices that the walk has left.
  private var kernelSeconds = 0.0

  /// What the walk has on the device of a range of layers.
  private struct Place {
    let part: Transformer
    let context: LayerPass.Context
    var measurements: PrefillMeasurements
    /// Of one layer.
    let cache: KeyValueCache
    let hidden: Tensor

    init(_ part: Transformer, tokens: Int, keyValueType: DataType?, rowBlock: Int?) throws {
      let (decoder, backend) = (part.decoder, part.backend)
      self.part = part
      let plan = try ChunkPlan(
        positions: 0..<tokens, chunk: nil, rowBlock: rowBlock ?? backend.rowBlock,
        tileRows: backend.tileShape(headDim: decoder.headDim).rows)
      cache = try KeyValueCache(
        layers: 0..<1, shape: decoder.attention[0], capacity: tokens,
        options: KeyValueOptions(type: keyValueType, place: .device), sequenceLength: tokens,
        backend: backend)
      context = LayerPass.Context(
        model: part, plan: plan, rotary: part.rotaryEmbedding(forLength: tokens),
        workspace: try RowWorkspace(
          rows: min(plan.rowBlock, tokens), configuration: decoder, backend: backend),
        selectionMemory: cache.selectionMemory, isCancelled: { false })
      measurements = PrefillMeasurements(
        part, positions: 0..<tokens, plan: plan, layers: 0..<part.layerCount)
      hidden = try backend.makeTensor(
        backend.activationType, [tokens, decoder.hiddenSize],
        purpose: "the hidden states of \(tokens) tokens")
    }
  }

  /// Embeds the tokens.
  ///
  /// - Throws: ``TransformerError`` for tokens that the model cannot read; out of memory; what the
  ///   model's devices say where another process holds layers.
  public init(
    _ model: Transformer, ids: [Int32], keyValueType: DataType? = nil, rowBlock: Int? = nil
  ) throws {
    guard ids.count <= model.contextLength else {
      throw TransformerError.contextExceeded(
        tokens: ids.count, contextLength: model.contextLength)
    }
    self.model = model
    self.keyValueType = keyValueType
    self.rowBlock = rowBlock
    tokens = ids.count
    if let dualChunk = model.decoder.dualChunk, ids.count > dualChunk.stride {
      throw TransformerError.invalidOption(
        name: "the text's length", value: "\(ids.count)",
        allowed: "at most one chunk of dual chunk attention, \(dualChunk.stride)")
    }
    let parts = try (0..<model.layerCount).map(model.part(holding:))
    guard let first = parts.first else { throw TransformerError.missingPart(what: "any layers") }
    place = try Place(
      first, tokens: ids.count, keyValueType: keyValueType, rowBlock: rowBlock)
    try first.backend.embed(
      ids, table: first.weights.requireEmbedding(), into: place.hidden)
  }

  /// Goes to the device of a layer, with nothing but memory for hidden states; what the walk had there
  /// before, if it is there already.
  private mutating func enter(layer: Int) throws {
    guard !place.part.layers.contains(layer) else { return }
    kernelSeconds += place.measurements.kernelWatch.seconds
    place = try Place(
      model.part(holding: layer), tokens: tokens, keyValueType: keyValueType, rowBlock: rowBlock)
  }

  /// Walks through one layer.
  ///
  /// - Parameters:
  ///   - attending: false leaves the rows as they are after the visits: for the last layer, of which
  ///     nothing but queries and keys is wanted.
  ///   - visit: Gets every block of rows in order.
  public mutating func advance(
    attending: Bool = true, isCancelled: () -> Bool = { false }, visit: (Block) throws -> Void
  ) throws {
    precondition(layer < model.decoder.layers)
    if !place.part.layers.contains(layer) {
      let states = try hiddenStates()
      try enter(layer: layer)
      try place.part.backend.write(states, to: place.hidden)
    }
    try withoutActuallyEscaping(isCancelled) { isCancelled in
      try place.cache.withLayer(0, count: tokens, for: .prefill) { keysAndValues in
        try advance(
          place.part.withSinks(keysAndValues, layer: layer), attending: attending,
          isCancelled: isCancelled, visit: visit)
      }
    }
    layer += 1
  }

  private mutating func advance(
    _ keysAndValues: KeyValueLayer, attending: Bool, isCancelled: @escaping () -> Bool,
    visit: (Block) throws -> Void
  ) throws {
    let layer = layer
    let shape = model.decoder.attention[layer]
    var context = place.context
    context.isCancelled = isCancelled
    var pass = try LayerPass(
      context, layer: layer, chunk: 0..<tokens, hidden: place.hidden,
      keysAndValues: keysAndValues, outputRows: attending ? .all : .noneButQueries)
    while !pass.isFinished {
      try pass.advance(measuring: &place.measurements) { rows, q, hidden in
        try visit(
          Block(
            layer: layer, positions: rows, q: q, hidden: hidden, keysAndValues: keysAndValues,
            shape: shape))
      }
    }
  }

  /// The hidden states before ``layer``: tokens * hidden size numbers.
  public func hiddenStates() throws -> [Float] { try place.part.backend.read(place.hidden) }

  /// Goes on before a layer with hidden states that an earlier walk over the same tokens gave.
  public mutating func resume(atLayer layer: Int, hidden states: [Float]) throws {
    precondition((0..<model.decoder.layers).contains(layer))
    try enter(layer: layer)
    try place.part.backend.write(states, to: place.hidden)
    self.layer = layer
  }

  /// The hidden states behind the last layer at ascending positions of the text, once every layer was
  /// walked through. Of the report the seconds of the attention kernel are filled in.
  package func sampledStates(at positions: [Int]) throws -> SampledStates {
    precondition(layer == model.decoder.layers)
    let backend = place.part.backend
    let states = try backend.makeTensor(
      backend.activationType, [positions.count, model.decoder.hiddenSize],
      purpose: "the hidden states of \(positions.count) positions")
    try backend.gatherRows(place.hidden, rows: positions.map(Int32.init), into: states)
    var report = place.measurements.report
    report.kernelSeconds = kernelSeconds + place.measurements.kernelWatch.seconds
    return SampledStates(positions: positions, hidden: states, report: report)
  }

  /// Logits behind the last row, once every layer was walked through.
  public func lastLogits() throws -> [Float] {
    precondition(layer == model.decoder.layers)
    return try place.part.logits(of: place.hidden.slice(rows: tokens - 1..<tokens))
  }
}

extension Transformer {
  /// Width of the hidden states.
  public var hiddenSize: Int { decoder.hiddenSize }

  /// The weights of the norm through which a layer's feed-forward reads the hidden states: [hidden].
  public func feedForwardNorm(layer: Int) throws -> [Float] {
    try backend.read(weights[layer].postAttentionNorm)
  }

  /// What attention outputs add to the hidden states: outputs [n, queryHeads * headDim] to
  /// [n, hidden]. Without the bias, and without the norm that some models put behind it.
  public func projectAttentionOutputs(_ outputs: [Float], layer: Int) throws -> [Float] {
    let width = decoder.queryWidth
    let rows = outputs.count / width
    precondition(outputs.count == rows * width)
    let purpose = "projecting attention outputs"
    let x = try backend.makeTensor(backend.activationType, [rows, width], purpose: purpose)
    try backend.write(outputs, to: x)
    let y = try backend.makeTensor(
      backend.activationType, [rows, decoder.hiddenSize], purpose: purpose)
    try backend.linear(
      x, weight: weights[layer].o.weight, bias: nil, into: y, accumulate: false)
    return try backend.read(y)
  }
}
