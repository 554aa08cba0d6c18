/// What one head of one layer attends to while it reads a prompt, and what its index computes of it.
///
/// The prompt is cut into as many cells of queries as of keys. Of each cell of queries some rows are sampled;
/// numbers of a cell are means over these. Queries and keys are those of the sparse pass itself.
public struct HeadObservation: Sendable, Equatable {
  public var layer: Int
  public var head: Int
  /// Tokens of the prompt.
  public var tokens: Int
  /// The head's pattern with its budgets, such as "vertical-slash(1000, 6096)"; "dense" for none.
  public var pattern: String
  /// The layer's own sliding window, in tokens; nil: queries see all keys before them.
  public var slidingWindow: Int?
  /// Computed pairs / causal pairs of the head.
  public var density: Double
  /// Why the head was dense, in parts of the prompt where it was to be sparse; empty: nowhere.
  public var denseReasons: [String]
  public var cells: Cells

  /// Numbers of cells, [row of queries][cell of keys up to the diagonal].
  public struct Cells: Sendable, Equatable {
    /// The share of a query's attention that the cell's keys have: 1 in the sum over a row, with
    /// ``sinkMass``.
    public var mass: [[Float]]
    /// The part of ``mass`` on computed pairs.
    public var keptMass: [[Float]]
    /// Computed pairs / pairs that the queries see.
    public var computedPairs: [[Float]]
    /// Of each row of cells, the mass on the head's attention sink, which is never left out.
    public var sinkMass: [Float]

    /// Cells on a side.
    public var count: Int { mass.count }

    public init(
      mass: [[Float]], keptMass: [[Float]], computedPairs: [[Float]], sinkMass: [Float]
    ) {
      self.mass = mass
      self.keptMass = keptMass
      self.computedPairs = computedPairs
      self.sinkMass = sinkMass
    }
  }

  /// The share of attention that lies on computed pairs, the sink among them: the mean over the rows of cells.
  public var keptMass: Double {
    guard cells.count > 0 else { return 1 }
    let kept = zip(cells.keptMass, cells.sinkMass).reduce(0.0) { sum, row in
      row.0.reduce(sum + Double(row.1)) { $0 + Double($1) }
    }
    return min(1, kept / Double(cells.count))
  }

  public init(
    layer: Int, head: Int, tokens: Int, pattern: String, slidingWindow: Int? = nil,
    density: Double, denseReasons: [String] = [], cells: Cells
  ) {
    self.layer = layer
    self.head = head
    self.tokens = tokens
    self.pattern = pattern
    self.slidingWindow = slidingWindow
    self.density = density
    self.denseReasons = denseReasons
    self.cells = cells
  }
}
