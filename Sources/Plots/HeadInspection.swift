import EvaluationTasks
public import MInference

/// Looks at the attention of one prompt: a dense pass, layer by layer, in which chosen heads are
/// pictured with what their patterns would compute of it.
///
/// Recall is over the sampled rows, on the queries and keys of the dense pass. Scores are made in
/// blocks: memory beyond the pass is that of 32 rows by the keys of the prompt.
public struct HeadInspection: Sendable {
  public let model: LanguageModel
  public let tokens: [Int32]
  public let planner: AttentionPlanner?
  /// Cells on a side of a picture.
  public var cells: Int

  /// - Parameter planner: what the heads would compute; nil: dense.
  public init(
    _ model: LanguageModel, tokens: [Int32], planner: AttentionPlanner?, cells: Int = 192
  ) {
    self.model = model
    self.tokens = tokens
    self.planner = planner
    self.cells = cells
  }

  /// The pictures of the heads that `isWanted` names, [layer][head].
  ///
  /// - Parameters:
  ///   - last: the last layer that is looked at; nil: all of them.
  ///   - progress: told layers done and layers in all.
  public func pictures(
    upToLayer last: Int? = nil, isWanted: (_ layer: Int, _ head: Int) -> Bool,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> [[AttentionPicture]] {
    let layers = min(last.map { $0 + 1 } ?? .max, model.transformer.layerCount)
    let positions = AttentionImage.sampledRows(keys: tokens.count, cells: cells)
    var walk = try LayerWalk(model.transformer, ids: tokens)
    var result: [[AttentionPicture]] = []
    for layer in 0..<layers {
      let heads = (0..<model.transformer.attentionShape(layer: layer).queryHeads)
        .filter { isWanted(layer, $0) }
      let backend = try model.transformer.part(holding: layer).backend
      var sample = LayerSample(keys: tokens.count, positions: heads.isEmpty ? [] : positions)
      sample.sketch = try heads.isEmpty ? nil : sketch(layer: layer, backend: backend)
      try walk.advance(attending: layer < layers - 1) { block in
        guard !heads.isEmpty else { return }
        try sample.add(block, backend: backend)
      }
      // The layer's keys are there until the walk goes on.
      result.append(
        heads.isEmpty ? [] : try pictures(of: heads, layer: layer, sample, backend: backend))
      progress(layer + 1, layers)
    }
    return result
  }

  /// What is to be seen of all queries of the prompt in a layer, on the host.
  private func sketch(layer: Int, backend: any Backend) throws -> QuerySketch? {
    try planner.flatMap {
      try QuerySketch(
        $0, layer: layer, backend: backend,
        shape: model.transformer.attentionShape(layer: layer), firstPosition: 0,
        rows: tokens.count, needsHostIndex: true)
    }
  }

  private func pictures(
    of heads: [Int], layer: Int, _ sample: LayerSample, backend: any Backend
  ) throws -> [AttentionPicture] {
    guard let keysAndValues = sample.keysAndValues, let lastRows = sample.lastRows else {
      return []
    }
    let shape = model.transformer.attentionShape(layer: layer)
    let planner = model.transformer.computesWholeWindow(layer: layer) ? nil : planner
    let sinks = try keysAndValues.sinks.map { try backend.read($0) }
    let chunk = ChunkInputs(
      shape: shape, layer: keysAndValues, firstPosition: 0, rows: tokens.count, lastRows: lastRows,
      estimates: sample.sketch?.estimates)
    // Of one memory, as the index of a static pattern and its selection are.
    let memory = SelectionMemory()
    let index = try planner?.makeHostIndex(layer: layer, chunk, backend: backend, memory: memory)
      .index
    let selections = try planner?.select(layer: layer, chunk, backend: backend, memory: memory)
      .selections
    return try heads.map { head in
      var image = AttentionImage(keys: tokens.count, cells: cells)
      var recalls: [Double] = []
      try sample.forEachRow(ofHead: head, shape: shape, backend: backend) { position, scores in
        image.add(position: position, scores: scores, sink: sinks?[head])
        if let index {
          recalls.append(
            index.recall(query: position, head: head, scores: scores, sink: sinks?[head]))
        }
      }
      guard let planner, let index, let selections, index.rowSet(ofHead: head) != .all else {
        return AttentionPicture(
          layer: layer, head: head, image: image, pattern: "dense", density: 1)
      }
      let computed = index.computedPairs(ofHead: head, slidingWindow: shape.slidingWindow)
      let causal = index.causalPairs(slidingWindow: shape.slidingWindow)
      var picture = AttentionPicture(
        layer: layer, head: head, image: image,
        computed: ComputedCells(image, index: index, head: head),
        pattern: planner.pattern(layer: layer, head: head).label,
        density: Double(computed) / Double(causal), recall: Bootstrap.average(recalls))
      if planner.pattern(layer: layer, head: head).needsLastRowSums,
        case .bands(let bands) = selections[head].pairs
      {
        picture.columns = bands.columns.map(Int.init)
        picture.offsets = bands.slashOffsets.map(Int.init)
      }
      return picture
    }
  }
}
