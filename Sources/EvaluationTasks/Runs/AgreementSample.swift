/// A text on which readings are compared, and where.
public struct AgreementSample: Sendable, Hashable {
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    case text
    case retrieval
  }

  /// Distinct within a run, and the same in every run with the same settings.
  public var name: String
  public var kind: Kind
  public var ids: [Int32]
  /// Ascending positions whose next-token distributions are compared.
  public var positions: [Int]
  /// Parts of ``positions``, by index: the units of resampling.
  var blocks: [Range<Int>]

  /// A text, compared at `count` positions.
  ///
  /// - Parameters:
  ///   - count: Positions, evenly apart; all if there are fewer. At least 1.
  ///   - last: Positions lie in the last `last` tokens; nil: in the whole text.
  public init(name: String, text ids: [Int32], positions count: Int, last: Int? = nil) {
    self.name = name
    kind = .text
    self.ids = ids
    // Behind the last token nothing follows that could be scored.
    let end = max(ids.count - 1, 1)
    positions = Self.spread(count, over: max(0, end - (last ?? end))..<end)
    let blocks = min(AgreementRun.blocksOfText, positions.count)
    let total = positions.count
    self.blocks = (0..<blocks).map { $0 * total / blocks..<($0 + 1) * total / blocks }
  }

  /// A prompt, compared where its answers stand; a question is a block.
  public init(name: String, prompt: RetrievalPrompt) {
    self.name = name
    kind = .retrieval
    ids = prompt.ids
    positions = prompt.positions
    var start = 0
    blocks = prompt.answers.map { answer in
      defer { start += answer.count }
      return start..<start + answer.count
    }.filter { !$0.isEmpty }
  }

  /// `count` positions evenly apart in a range, the last of it among them; all if there are fewer.
  package static func spread(_ count: Int, over range: Range<Int>) -> [Int] {
    guard count < range.count else { return Array(range) }
    return (1...max(count, 1)).map { range.lowerBound + $0 * range.count / max(count, 1) - 1 }
  }
}
