public import Compute

/// How one head's pairs are found: what it looks at, the rule by which it chooses, the shape it gives.
///
/// A selector is one file of this folder and one entry of ``Selectors/all``. Pattern files, the
/// command and reports know it by its name and its budgets; nothing else switches over selectors.
public protocol Selector: Sendable, Hashable {
  /// The name, as pattern files and the command write it.
  static var name: String { get }
  /// What may be set, in the order of ``values``.
  static var budgets: [SelectorBudget] { get }

  /// - Parameter values: One for each of ``budgets``, within its bounds.
  init(values: [Double])

  /// The budgets' values, in their order.
  var values: [Double] { get }

  /// What the selector may look at, whatever the prompt.
  var needs: SketchNeeds { get }

  /// What has to be looked at in a chunk that sees `keys` keys; nothing where the budgets take
  /// everything.
  ///
  /// - Parameter isKept: Whether the sequence holds a selection of this head already.
  func needs(keys: Int, isKept: Bool) -> SketchNeeds

  /// First keys and nearest keys that are computed whatever the prompt; recall is sampled beyond.
  var alwaysComputed: Int { get }

  /// The pairs of the head.
  ///
  /// - Throws: ``Compute/ComputeError`` if the sketch lacks what ``needs(keys:isKept:)`` asks for.
  func select(_ sketch: HeadSketch) throws -> HeadSelection

  /// What a device that builds indices itself is asked for in a chunk that sees `keys` keys.
  func deviceRequest(keys: Int) -> DeviceRequest

  /// The budgets that a search by what the model loses tries; none: the selector is no candidate.
  static var searchCandidates: [Self] { get }
}

extension Selector {
  public static var searchCandidates: [Self] { [] }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds { needs }
}

/// One number that a selector can be given.
public struct SelectorBudget: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// A whole number in this range.
    case count(ClosedRange<Int>)
    /// A share, 0 ... 1.
    case share
    /// One of these whole numbers.
    case oneOf([Int])
  }

  /// As pattern files write it: "top_k".
  public let name: String
  public let kind: Kind
  /// What a pattern file may leave out, and what the command takes where nothing is given.
  public let standard: Double
  /// Whether a pattern file has to name it.
  public let isRequired: Bool

  /// A whole number of at least `least`.
  public static func count(
    _ name: String, least: Int = 1, standard: Int, isRequired: Bool = true
  ) -> SelectorBudget {
    SelectorBudget(
      name: name, kind: .count(least...Int(Int32.max)), standard: Double(standard),
      isRequired: isRequired)
  }

  /// A share, 0 ... 1, that files may leave out.
  public static func share(_ name: String, standard: Double) -> SelectorBudget {
    SelectorBudget(name: name, kind: .share, standard: standard, isRequired: false)
  }

  /// One of a few numbers, that files may leave out.
  public static func oneOf(_ name: String, _ values: [Int], standard: Int) -> SelectorBudget {
    SelectorBudget(name: name, kind: .oneOf(values), standard: Double(standard), isRequired: false)
  }

  /// Whether the value may be given.
  public func allows(_ value: Double) -> Bool {
    switch kind {
    case .count(let range):
      value == value.rounded() && value >= Double(range.lowerBound)
        && value <= Double(range.upperBound)
    case .share: (0...1).contains(value)
    case .oneOf(let values): values.contains { Double($0) == value }
    }
  }

  /// What may be given, for messages: "a whole number of at least 1".
  public var description: String {
    switch kind {
    case .count(let range): "a whole number of at least \(range.lowerBound)"
    case .share: "a number from 0 to 1"
    case .oneOf(let values): values.map(String.init).joined(separator: " or ")
    }
  }

  /// The value as files and messages write it.
  public func text(_ value: Double) -> String {
    if case .share = kind { "\(value)" } else { "\(Int(value))" }
  }
}

/// What a selector looks at.
public struct SketchNeeds: Sendable, Hashable {
  /// Column and offset sums of the chunk's last rows.
  public var lastRows: Bool
  /// Means of blocks of 64 queries and keys.
  public var pooledMeans: Bool
  /// Shares of blocks of 128 keys, by what this scores; nil: none.
  public var blockShares: ShareSource?

  public init(
    lastRows: Bool = false, pooledMeans: Bool = false, blockShares: ShareSource? = nil
  ) {
    self.lastRows = lastRows
    self.pooledMeans = pooledMeans
    self.blockShares = blockShares
  }

  public static let nothing = SketchNeeds()

  /// Whether all queries of the chunk have to be seen, and not its last rows alone.
  public var allQueries: Bool { pooledMeans || blockShares != nil }
}

/// What one head's selection is made from, on the host.
public struct HeadSketch {
  /// Where the head is.
  public var layer: Int
  public var head: Int
  /// Position of the chunk's first row, its rows, and the keys that it sees.
  public var firstPosition: Int
  public var rows: Int
  public var keys: Int { firstPosition + rows }
  /// The rows that ``lastRowSums`` are sums of.
  public var lastRows: Int { min(rows, VerticalSlashRule.lastRows) }
  public var headDim: Int
  /// Sums of the chunk's last rows.
  public var lastRowSums: LastRowSums?
  /// Means of the chunk's query blocks and of all key blocks, [blocks * headDim].
  public var pooledQueries: [Float]?
  public var pooledKeys: [Float]?
  /// Shares of key blocks.
  public var blockShares: HeadBlockShares?
  /// The sequence's memory, for selectors that keep their first estimate.
  public var memory: SelectionMemory

  public init(
    layer: Int, head: Int, firstPosition: Int, rows: Int, headDim: Int,
    lastRowSums: LastRowSums? = nil, pooledQueries: [Float]? = nil, pooledKeys: [Float]? = nil,
    blockShares: HeadBlockShares? = nil, memory: SelectionMemory
  ) {
    self.layer = layer
    self.head = head
    self.firstPosition = firstPosition
    self.rows = rows
    self.headDim = headDim
    self.lastRowSums = lastRowSums
    self.pooledQueries = pooledQueries
    self.pooledKeys = pooledKeys
    self.blockShares = blockShares
    self.memory = memory
  }

  func missing(_ what: String) -> ComputeError {
    ComputeError.shapeMismatch(
      operation: "AttentionPlanner", detail: "head \(head) of layer \(layer) needs \(what)")
  }
}

/// What a device is asked for in place of a selection on the host.
public enum DeviceRequest: Sendable, Hashable {
  /// Every pair; the reason where the pattern is not dense itself.
  case dense(DenseReason?)
  /// What the device estimates and selects itself.
  case estimated(IndexRequest.Head)
  /// Blocks of 128 keys chosen by their shares as the queries come, so many columns, and every key for the rows
  /// at `denseFrom` and after it; the alternative where the last rows do not attend as the shares say.
  case chosenBlocks(
    ShareSource, ShareRule, columns: Int = 0, denseFrom: Int? = nil,
    alternative: BandAlternative? = nil)
  /// Bands that the host knows, estimated there if need be.
  case selectedOnHost
}

/// The pairs one head asks for, or why it is dense.
public struct HeadSelection: Sendable, Hashable {
  public var pairs: PairSelection
  /// Why the head is dense although its pattern is not.
  public var denseReason: DenseReason?

  public init(_ pairs: PairSelection, denseReason: DenseReason? = nil) {
    self.pairs = pairs
    self.denseReason = denseReason
  }
}

/// All selectors that there are.
public enum Selectors {
  public static let all: [any Selector.Type] = [
    Dense.self, AShape.self, TriShape.self, VerticalSlash.self, StaticVerticalSlash.self,
    BlockSparse.self, Dilated.self, Strided.self, Antidiagonal.self, PooledBlocks.self,
    VerticalSlashShare.self, FlexPrefill.self,
  ]

  /// The budgets that searches try, of all selectors.
  public static var searchCandidates: [HeadPattern] {
    func candidates<One: Selector>(_ selector: One.Type) -> [HeadPattern] {
      selector.searchCandidates.map(HeadPattern.init)
    }
    return all.flatMap { candidates($0) }
  }

  /// The selector of this name.
  public static func named(_ name: String) -> (any Selector.Type)? {
    all.first { $0.name == name }
  }

  /// The names, for messages: "dense, a-shape and strided".
  static var knownNames: String {
    let names = all.map { $0.name }
    return names.dropLast().joined(separator: ", ") + " and " + (names.last ?? "")
  }
}
