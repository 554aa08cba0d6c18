/// Which attention a prompt is read with, by the names that the command takes.
public enum AttentionMode: String, Sendable, CaseIterable {
  /// Every head by its pattern in the pattern file.
  case minference
  case dense
  case aShape = "a-shape"
  case triShape = "tri-shape"
  case verticalSlash = "vertical-slash"
  /// Vertical-slash with the smallest slash budget (the paper's ablation): besides the columns only
  /// the nearest offsets.
  case vertical
  /// Vertical-slash with the smallest vertical budget: besides the offsets only the first columns.
  case slash
  case blockSparse = "block-sparse"
  /// Vertical-slash whose first estimate is kept.
  case `static`
  case dilated
  case strided
}

/// Budgets as the command takes them; nil: the mode's default.
public struct AttentionBudgets: Sendable, Hashable {
  public var sink: Int?
  public var local: Int?
  public var vertical: Int?
  public var slash: Int?
  public var topKBlocks: Int?

  public init(
    sink: Int? = nil, local: Int? = nil, vertical: Int? = nil, slash: Int? = nil,
    topKBlocks: Int? = nil
  ) {
    self.sink = sink
    self.local = local
    self.vertical = vertical
    self.slash = slash
    self.topKBlocks = topKBlocks
  }

  /// The budgets that were given, by the name of their flag.
  var given: [(name: String, value: Int)] {
    [
      ("sink", sink), ("local", local), ("vertical", vertical), ("slash", slash),
      ("top-k-blocks", topKBlocks),
    ].compactMap { name, value in value.map { (name, $0) } }
  }
}

extension AttentionMode {
  /// The pattern that the mode gives every head; for ``minference``, the one without a pattern file.
  ///
  /// Defaults are upstream's: A-shape 128 + 3968, tri-shape with 100 last rows, vertical-slash
  /// 1000 + 6096, 100 blocks, dilated 1024 + 8192, strided 1024 + 2048 + 4096, every second.
  ///
  /// - Throws: ``PatternError/budget(name:value:)`` for a budget below 1.
  public func pattern(_ budgets: AttentionBudgets = AttentionBudgets()) throws -> HeadPattern {
    for (name, value) in budgets.given where !(1...Int(Int32.max)).contains(value) {
      throw PatternError.budget(name: name, value: value)
    }
    let vertical = budgets.vertical ?? 1000
    let slash = budgets.slash ?? 6096
    return switch self {
    case .dense: .dense
    case .aShape: .aShape(sink: budgets.sink ?? 128, local: budgets.local ?? 3968)
    case .triShape: .triShape(sink: budgets.sink ?? 128, local: budgets.local ?? 3968, last: 100)
    case .minference, .verticalSlash: .verticalSlash(vertical: vertical, slash: slash)
    case .vertical: .verticalSlash(vertical: vertical, slash: 1)
    case .slash: .verticalSlash(vertical: 1, slash: slash)
    case .blockSparse: .blockSparse(topK: budgets.topKBlocks ?? 100)
    case .static: .staticVerticalSlash(vertical: vertical, slash: slash)
    case .dilated:
      .dilated(sink: budgets.sink ?? 1024, window: budgets.local ?? 8192, stride: 2)
    case .strided:
      .strided(sink: budgets.sink ?? 1024, local: budgets.local ?? 2048, window: 4096, stride: 2)
    }
  }

  /// The flags of the given budgets that this mode does not look at.
  public func unusedBudgets(_ budgets: AttentionBudgets, hasPatternFile: Bool) -> [String] {
    let used: Set<String> =
      switch self {
      case .dense: []
      case .aShape, .triShape, .dilated, .strided: ["sink", "local"]
      case .minference: hasPatternFile ? [] : ["vertical", "slash"]
      case .verticalSlash, .static: ["vertical", "slash"]
      case .vertical: ["vertical"]
      case .slash: ["slash"]
      case .blockSparse: ["top-k-blocks"]
      }
    return budgets.given.map(\.name).filter { !used.contains($0) }
  }

  /// The planner of a run.
  ///
  /// - patterns: the pattern file, looked at by ``minference`` alone.
  /// - Throws: ``PatternError`` for budgets below 1 and for a file of another shape of model.
  public func planner(
    layers: Int, heads: Int, patterns: PatternConfiguration? = nil,
    budgets: AttentionBudgets = AttentionBudgets(), exact: Bool = false,
    costModel: SparseCostModel = SparseCostModel()
  ) throws -> AttentionPlanner {
    let uniform = try pattern(budgets)
    let configuration =
      if self == .minference, let patterns {
        try patterns.validated(layers: layers, heads: heads)
      } else {
        PatternConfiguration.uniform(uniform, layers: layers, heads: heads)
      }
    return AttentionPlanner(configuration: configuration, exact: exact, costModel: costModel)
  }
}
