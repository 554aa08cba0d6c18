/// Which attention a prompt is read with, by the names that the command takes: `minference`, every
/// selector, and two ablations of the paper.
public struct AttentionMode: Sendable, Hashable, RawRepresentable {
  public let rawValue: String

  /// - Returns: nil for an unknown name.
  public init?(rawValue: String) {
    guard Self.names.contains(rawValue) else { return nil }
    self.rawValue = rawValue
  }

  private init(_ name: String) { rawValue = name }

  /// Every head by its pattern in the pattern file.
  public static let minference = AttentionMode("minference")
  public static let dense = AttentionMode(Dense.name)
  public static let aShape = AttentionMode(AShape.name)
  public static let triShape = AttentionMode(TriShape.name)
  public static let verticalSlash = AttentionMode(VerticalSlash.name)
  /// Vertical-slash with the smallest slash budget (the paper's ablation): besides the columns only
  /// the nearest offsets.
  public static let vertical = AttentionMode("vertical")
  /// Vertical-slash with the smallest vertical budget: besides the offsets only the first columns.
  public static let slash = AttentionMode("slash")
  public static let blockSparse = AttentionMode(BlockSparse.name)
  /// Vertical-slash that keeps its first estimate for the whole sequence.
  public static let `static` = AttentionMode(StaticVerticalSlash.name)
  public static let dilated = AttentionMode(Dilated.name)
  public static let strided = AttentionMode(Strided.name)
  public static let antidiagonal = AttentionMode(Antidiagonal.name)
  public static let pooledBlocks = AttentionMode(PooledBlocks.name)
  public static let verticalSlashShare = AttentionMode(VerticalSlashShare.name)
  public static let flexPrefill = AttentionMode(FlexPrefill.name)

  private static let names =
    [minference.rawValue] + Selectors.all.map { $0.name } + [vertical.rawValue, slash.rawValue]
}

extension AttentionMode: CaseIterable {
  public static var allCases: [AttentionMode] { names.map { AttentionMode($0) } }
}

/// Budgets as the command takes them. A budget that is not given has the selector's standard value.
public struct AttentionBudgets: Sendable, Hashable {
  /// By the name of the flag: "sink", "top-k-blocks".
  private var given: [String: Double]

  public init(_ given: [String: Double]) { self.given = given }

  public init(
    sink: Int? = nil, local: Int? = nil, vertical: Int? = nil, slash: Int? = nil,
    topKBlocks: Int? = nil
  ) {
    let counts = [
      "sink": sink, "local": local, "vertical": vertical, "slash": slash,
      "top-k-blocks": topKBlocks,
    ]
    given = counts.compactMapValues { $0.map(Double.init) }
  }

  /// What was given, sorted by name.
  var all: [(name: String, value: Double)] {
    given.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  subscript(_ name: String) -> Double? { given[name] }

  /// The same without these.
  public func without(_ names: Set<String>) -> AttentionBudgets {
    AttentionBudgets(given.filter { !names.contains($0.key) })
  }
}

extension AttentionMode {
  /// The selector that the mode gives every head; for ``minference``, the one without a pattern file.
  private var selector: any Selector.Type {
    switch self {
    case .vertical, .slash: VerticalSlash.self
    default: Selectors.named(rawValue) ?? PooledBlocks.self
    }
  }

  /// The flag that sets a budget. For a dilated selector, the flag `local` sets the window.
  private func flag(_ budget: SelectorBudget) -> String {
    switch budget.name {
    case "top_k": "top-k-blocks"
    case "window" where self == .dilated: "local"
    default: String(budget.name.map { $0 == "_" ? "-" : $0 })
    }
  }

  /// Fixed budgets of the ablations.
  private func fixed(_ budget: SelectorBudget) -> Double? {
    (self == .vertical && budget.name == "slash") || (self == .slash && budget.name == "vertical")
      ? 1 : nil
  }

  /// The pattern that the mode gives every head; for ``minference``, the one without a pattern file.
  ///
  /// - Throws: ``PatternError/budget(name:value:allowed:)`` for a budget out of its bounds.
  public func pattern(_ budgets: AttentionBudgets = AttentionBudgets()) throws -> HeadPattern {
    for (name, value) in budgets.all {
      // Flags that this mode ignores are checked as well. Selectors may bound budgets of one name
      // differently; the mode's own bounds are checked below.
      let namesakes = Self.allBudgets.filter { flag($0) == name || $0.name == name }
      if let budget = namesakes.first, !namesakes.contains(where: { $0.allows(value) }) {
        throw PatternError.budget(
          name: name, value: budget.text(value), allowed: budget.description)
      }
    }
    let selector = selector
    return HeadPattern(
      selector.init(
        values: try selector.budgets.map { budget in
          if let value = fixed(budget) { return value }
          guard let value = budgets[flag(budget)] else { return budget.standard }
          guard budget.allows(value) else {
            throw PatternError.budget(
              name: flag(budget), value: budget.text(value), allowed: budget.description)
          }
          return value
        }))
  }

  private static let allBudgets = Selectors.all.flatMap { $0.budgets }

  /// The flags of the given budgets that this mode does not look at.
  public func unusedBudgets(_ budgets: AttentionBudgets, hasPatternFile: Bool) -> [String] {
    let used =
      self == .minference && hasPatternFile
      ? [] : selector.budgets.filter { fixed($0) == nil }.map(flag)
    return budgets.all.map(\.name).filter { !used.contains($0) }
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
