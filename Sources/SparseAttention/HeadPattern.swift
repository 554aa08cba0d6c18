/// What one attention head computes: a selector with its budgets.
///
/// A budget larger than the prompt selects everything. Source: MInference (arXiv 2407.02490), section 3
/// and its baselines in section 4, and the sources that each selector names.
public struct HeadPattern: Sendable {
  public let selector: any Selector

  public init(_ selector: any Selector) { self.selector = selector }
}

extension HeadPattern: Hashable {
  public static func == (one: HeadPattern, other: HeadPattern) -> Bool {
    AnyHashable(one.selector) == AnyHashable(other.selector)
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(selector)) }
}

extension HeadPattern {
  /// Every causal pair.
  public static let dense = HeadPattern(Dense())

  /// The first `sink` keys and the `local` nearest (StreamingLLM).
  public static func aShape(sink: Int, local: Int) -> HeadPattern {
    HeadPattern(AShape(sink: sink, local: local))
  }

  /// A-shape, and every key for the chunk's `last` rows.
  public static func triShape(sink: Int, local: Int, last: Int) -> HeadPattern {
    HeadPattern(TriShape(sink: sink, local: local, last: last))
  }

  /// The `vertical` key columns and `slash` offsets with the most mass in the last rows.
  public static func verticalSlash(vertical: Int, slash: Int) -> HeadPattern {
    HeadPattern(VerticalSlash(vertical: vertical, slash: slash))
  }

  /// Vertical-slash whose columns and offsets are estimated once and kept for the whole sequence (the
  /// paper's ablation).
  public static func staticVerticalSlash(vertical: Int, slash: Int) -> HeadPattern {
    HeadPattern(StaticVerticalSlash(vertical: vertical, slash: slash))
  }

  /// For each block of 64 rows, the `topK` blocks of 64 keys whose mean scores highest.
  public static func blockSparse(topK: Int) -> HeadPattern {
    HeadPattern(BlockSparse(topK: topK))
  }

  /// The first `sink` keys and every `stride`th of the `window` nearest.
  public static func dilated(sink: Int, window: Int, stride: Int) -> HeadPattern {
    HeadPattern(Dilated(sink: sink, window: window, stride: stride))
  }

  /// The first `sink` keys, the `local` nearest, and every `stride`th of the `window` before those.
  public static func strided(sink: Int, local: Int, window: Int, stride: Int) -> HeadPattern {
    HeadPattern(Strided(sink: sink, local: local, window: window, stride: stride))
  }

  /// The pattern of a head that a published pattern file does not list.
  public static let unlisted = HeadPattern.verticalSlash(vertical: 1000, slash: 6096)

  /// The name of the pattern, as the command and pattern files write it.
  public var name: String { type(of: selector).name }

  /// The budgets by name, in their order.
  public var budgets: [(name: String, text: String)] {
    zip(type(of: selector).budgets, selector.values).map { ($0.name, $0.text($1)) }
  }

  /// The name and the budgets: "vertical-slash(1000, 6096)".
  package var label: String {
    budgets.isEmpty ? name : "\(name)(\(budgets.map(\.text).joined(separator: ", ")))"
  }

  /// The pattern of that name, with budgets asked for one after another; nil from `budget` takes the
  /// standard value.
  ///
  /// - Returns: nil if there is no pattern of that name.
  init?(named name: String, budget: (SelectorBudget) throws -> Double?) rethrows {
    guard let selector = Selectors.named(name) else { return nil }
    self.init(selector.init(values: try selector.budgets.map { try budget($0) ?? $0.standard }))
  }

  /// The estimates that the pattern needs, for prompts of any length.
  public var needs: SketchNeeds { selector.needs }

  /// Whether the pattern is estimated from the attention of the chunk's last rows.
  public var needsLastRowSums: Bool { needs.lastRows }

  /// Whether the pattern is estimated from means of blocks of queries and keys.
  public var needsPooledQueries: Bool { needs.pooledMeans }

  /// Nearest keys and first keys that the pattern always computes; recall is sampled beyond them.
  public var sinkAndWindow: Int { selector.alwaysComputed }
}
