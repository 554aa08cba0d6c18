import TextReports
public import MInference

/// Which indices prompts ask for, head by head: what static attention applies to others, and how much
/// the indices of two prompts have in common, which is why they are estimated anew for each.
public enum IndexSurvey {
  /// The pairs that every head of a prompt asks for, [layer][head], in a dense pass over it.
  ///
  /// - Parameter progress: told the fraction of layers done.
  static func selections(
    _ model: LanguageModel, tokens: [Int32], planner: AttentionPlanner, memory: SelectionMemory,
    progress: (Double) -> Void
  ) throws -> [[PairSelection]] {
    let layers = model.transformer.layerCount
    var walk = try LayerWalk(model.transformer, ids: tokens)
    return try (0..<layers).map { layer in
      var sample = LayerSample(keys: tokens.count, positions: [])
      let shape = model.transformer.attentionShape(layer: layer)
      let backend = try model.transformer.part(holding: layer).backend
      sample.sketch = try QuerySketch(
        planner, layer: layer, backend: backend, shape: shape, firstPosition: 0,
        rows: tokens.count, needsHostIndex: true)
      try walk.advance(attending: layer < layers - 1) { try sample.add($0, backend: backend) }
      progress(Double(layer + 1) / Double(layers))
      guard let keysAndValues = sample.keysAndValues, let lastRows = sample.lastRows else {
        return []
      }
      let chunk = ChunkInputs(
        shape: shape, layer: keysAndValues, firstPosition: 0, rows: tokens.count,
        lastRows: lastRows, estimates: sample.sketch?.estimates)
      return try planner.select(layer: layer, chunk, backend: backend, memory: memory)
        .selections.map(\.pairs)
    }
  }

  /// What static patterns keep of a calibration prompt, to be applied to other prompts.
  package static func keptSelections(
    _ model: LanguageModel, tokens: [Int32], planner: AttentionPlanner?,
    progress: (Double) -> Void = { _ in }
  ) throws -> SelectionMemory.Selections {
    let memory = SelectionMemory()
    if let planner {
      _ = try selections(
        model, tokens: tokens, planner: planner, memory: memory, progress: progress)
    }
    return memory.selections
  }

  /// What two prompts' indices of one head have in common: shared / united, without what is forced.
  public struct Overlap: Sendable, Hashable {
    /// nil where neither prompt chose any.
    public var columns: Double?
    public var offsets: Double?

    public init(columns: Double?, offsets: Double?) {
      self.columns = columns
      self.offsets = offsets
    }
  }

  /// The overlap of every head's vertical-slash indices, [layer][head]. The prompts must have the same
  /// length.
  public static func overlaps(
    _ model: LanguageModel, _ first: [Int32], _ second: [Int32], planner: AttentionPlanner,
    progress: (Double) -> Void = { _ in }
  ) throws -> [[Overlap]] {
    let one = try selections(
      model, tokens: first, planner: planner, memory: SelectionMemory()
    ) { progress($0 / 2) }
    let other = try selections(
      model, tokens: second, planner: planner, memory: SelectionMemory()
    ) { progress(0.5 + $0 / 2) }
    return zip(one, other).map { zip($0, $1).map(overlap) }
  }

  package static func overlap(_ one: PairSelection, _ other: PairSelection) -> Overlap {
    guard case .bands(let one) = one, case .bands(let other) = other else {
      return Overlap(columns: nil, offsets: nil)
    }
    func shared(_ left: [Int32], _ right: [Int32], forced: Int) -> Double? {
      let left = Set(left.filter { $0 >= forced })
      let right = Set(right.filter { $0 >= forced })
      let union = left.union(right).count
      return union == 0 ? nil : Double(left.intersection(right).count) / Double(union)
    }
    let rule = VerticalSlashRule.estimated
    return Overlap(
      columns: shared(one.columns, other.columns, forced: rule.forcedColumns),
      offsets: shared(one.slashOffsets, other.slashOffsets, forced: rule.forcedOffsets))
  }

  /// A table of every head, and the means.
  package static func markdown(_ overlaps: [[Overlap]]) -> String {
    let all = Array(overlaps.joined())
    let columns = all.compactMap(\.columns)
    let offsets = all.compactMap(\.offsets)
    func percent(_ value: Double?) -> String { value.map { Quantity.fixed(100 * $0, 0) } ?? "-" }
    var table = MarkdownTable(
      header: ["layer"] + (0..<(overlaps.map(\.count).max() ?? 0)).map { "head \($0)" })
    for (layer, heads) in overlaps.enumerated() {
      table.append(["\(layer)"] + heads.map { "\(percent($0.columns)) / \(percent($0.offsets))" })
    }
    return """
      Overlap of the indices of two prompts, columns / offsets in percent (shared / united, without \
      the forced ones; - where a head chooses none)

      \(table.text)
      Mean over heads: columns \(Quantity.percent(Bootstrap.average(columns))), offsets \
      \(Quantity.percent(Bootstrap.average(offsets)))

      """
  }
}
