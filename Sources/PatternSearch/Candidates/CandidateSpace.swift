public import SparseAttention

/// The patterns that the search chooses from; dense is always among them.
public struct CandidateSpace: Sendable, Hashable {
  /// What the user calls it.
  public let name: String
  /// Distinct patterns, dense first.
  public let patterns: [HeadPattern]

  public init(name: String, patterns: [HeadPattern]) {
    self.name = name
    var seen: Set<HeadPattern> = [.dense]
    self.patterns = [.dense] + patterns.filter { seen.insert($0).inserted }
  }

  /// The spaces that the command knows.
  public static let known: [CandidateSpace] = [.standard, .paper]

  /// The paper's table 7. (It writes vertical-slash budgets as (vertical, slash), with A-shape
  /// 1024 + 4096 as the target of cost.)
  public static let paper = CandidateSpace(
    name: "paper",
    patterns: [
      .aShape(sink: 1024, local: 4096), .verticalSlash(vertical: 30, slash: 2048),
      .verticalSlash(vertical: 100, slash: 1800), .verticalSlash(vertical: 500, slash: 1500),
      .verticalSlash(vertical: 3000, slash: 200), .blockSparse(topK: 100),
    ])

  /// Windows from a few hundred keys to half of 32K, budgets from a handful of columns and offsets
  /// to the widest that are published, blocks from 16 to 256.
  public static let standard = CandidateSpace(
    name: "default",
    patterns: windows + verticalSlashes + published + blocks)

  private static let windows: [HeadPattern] = [64, 256, 1024].flatMap { sink in
    [256, 512, 1024, 2048, 4096, 8192, 16384].map { .aShape(sink: sink, local: $0) }
  }

  private static let verticalSlashes: [HeadPattern] = [30, 256, 1024, 4096].flatMap { vertical in
    [100, 256, 512, 1024, 2048, 4096].map { .verticalSlash(vertical: vertical, slash: $0) }
  }

  /// Budgets of the published pattern files that are not on the ladder.
  private static let published: [HeadPattern] = [
    (30, 800), (100, 800), (500, 700), (512, 2048), (3500, 100), (1000, 4096), (1000, 6096),
    (3048, 8144), (5096, 10192), (7244, 12240), (8192, 100), (8192, 1024),
  ].map { .verticalSlash(vertical: $0.0, slash: $0.1) }

  private static let blocks: [HeadPattern] = [16, 32, 64, 100, 160, 256].map {
    .blockSparse(topK: $0)
  }
}
