/// What one attention head computes.
///
/// Budgets are counted in keys (sink, local, window, vertical), offsets i - j (slash), rows (last)
/// or blocks of 64 (topK). A budget larger than the prompt means all there is.
/// Source: MInference (arXiv 2407.02490), section 3 and its baselines in section 4.
public enum HeadPattern: Sendable, Hashable {
  /// Every causal pair.
  case dense
  /// The first `sink` keys and the `local` nearest (StreamingLLM).
  case aShape(sink: Int, local: Int)
  /// A-shape, and every key for the chunk's `last` rows.
  case triShape(sink: Int, local: Int, last: Int)
  /// The `vertical` key columns and `slash` offsets with the most mass in the last rows.
  case verticalSlash(vertical: Int, slash: Int)
  /// Vertical-slash whose columns and offsets are estimated once and kept for the whole sequence
  /// (the paper's ablation).
  case staticVerticalSlash(vertical: Int, slash: Int)
  /// For each block of 64 rows, the `topK` blocks of 64 keys whose mean scores highest.
  case blockSparse(topK: Int)
  /// The first `sink` keys and every `stride`th of the `window` nearest.
  case dilated(sink: Int, window: Int, stride: Int)
  /// The first `sink` keys, the `local` nearest, and every `stride`th of the `window` before those.
  case strided(sink: Int, local: Int, window: Int, stride: Int)
}

extension HeadPattern {
  /// What the published pattern files mean for a head that they do not list.
  public static let unlisted = HeadPattern.verticalSlash(vertical: 1000, slash: 6096)

  /// The names of all patterns, for messages.
  static let knownNames =
    "dense, a-shape, tri-shape, vertical-slash, static, block-sparse, dilated and strided"

  /// The name of the pattern, as the command and pattern files write it.
  public var name: String {
    switch self {
    case .dense: "dense"
    case .aShape: "a-shape"
    case .triShape: "tri-shape"
    case .verticalSlash: "vertical-slash"
    case .staticVerticalSlash: "static"
    case .blockSparse: "block-sparse"
    case .dilated: "dilated"
    case .strided: "strided"
    }
  }

  /// The budgets by name, in the order of the case.
  public var budgets: [(name: String, value: Int)] {
    switch self {
    case .dense: []
    case .aShape(let sink, let local): [("sink", sink), ("local", local)]
    case .triShape(let sink, let local, let last):
      [("sink", sink), ("local", local), ("last", last)]
    case .verticalSlash(let vertical, let slash), .staticVerticalSlash(let vertical, let slash):
      [("vertical", vertical), ("slash", slash)]
    case .blockSparse(let topK): [("top_k", topK)]
    case .dilated(let sink, let window, let stride):
      [("sink", sink), ("window", window), ("stride", stride)]
    case .strided(let sink, let local, let window, let stride):
      [("sink", sink), ("local", local), ("window", window), ("stride", stride)]
    }
  }

  /// The pattern of that name, with budgets asked for one after another.
  ///
  /// - Returns: nil if there is no pattern of that name.
  init?(named name: String, budget: (String) throws -> Int) rethrows {
    switch name {
    case "dense": self = .dense
    case "a-shape": self = .aShape(sink: try budget("sink"), local: try budget("local"))
    case "tri-shape":
      self = .triShape(
        sink: try budget("sink"), local: try budget("local"), last: try budget("last"))
    case "vertical-slash":
      self = .verticalSlash(vertical: try budget("vertical"), slash: try budget("slash"))
    case "static":
      self = .staticVerticalSlash(vertical: try budget("vertical"), slash: try budget("slash"))
    case "block-sparse": self = .blockSparse(topK: try budget("top_k"))
    case "dilated":
      self = .dilated(
        sink: try budget("sink"), window: try budget("window"), stride: try budget("stride"))
    case "strided":
      self = .strided(
        sink: try budget("sink"), local: try budget("local"), window: try budget("window"),
        stride: try budget("stride"))
    default: return nil
    }
  }

  /// Whether the pattern is estimated from the attention of the chunk's last rows.
  public var needsLastRowSums: Bool {
    switch self {
    case .verticalSlash, .staticVerticalSlash: true
    case .dense, .aShape, .triShape, .blockSparse, .dilated, .strided: false
    }
  }

  /// Whether the pattern is estimated from means of blocks of queries and keys.
  public var needsPooledQueries: Bool {
    if case .blockSparse = self { true } else { false }
  }

  /// Nearest keys and first keys that the pattern always computes; recall is sampled beyond them.
  public var sinkAndWindow: Int {
    switch self {
    case .dense: 0
    case .aShape(let sink, let local), .triShape(let sink, let local, _): sink + local
    case .verticalSlash(let vertical, let slash):
      VerticalSlashRule.estimated.alwaysComputed(vertical: vertical, slash: slash)
    case .staticVerticalSlash(let vertical, let slash):
      VerticalSlashRule.kept.alwaysComputed(vertical: vertical, slash: slash)
    case .blockSparse: 2 * BlockSparse.blockSize
    case .dilated(let sink, let window, _): sink + window
    case .strided(let sink, let local, let window, _): sink + local + window
    }
  }
}
