package import MInference

/// Where the attention of a model that nobody can download would go: queries and keys that make
/// the estimate of a prompt's last 64 rows find given offsets and columns.
///
/// Every key-value head has offsets and columns of its own, ranked, so that a query head with a
/// smaller budget takes the first of those that one with a larger budget takes. Two settings are
/// pinned; which one a figure is of is part of the figure.
package struct SyntheticAttention: Sendable {
  /// How offsets lie.
  package enum Setting: String, CaseIterable, Sendable {
    /// In runs of 64, as heads of trained models have them.
    case clustered
    /// Each for itself, uniformly: the worst that tiles can meet.
    case scattered
  }

  /// Offsets that stand side by side in the clustered setting.
  static let run = 64

  /// [offset] and [column], the score that each is given; 0 where it is not wanted. Offsets beyond the
  /// budgets have negative ones (``score(offset:column:)``).
  package let offsetScores: [Float]
  package let columnScores: [Float]

  /// - Parameters:
  ///   - keys: Tokens of the prompt.
  ///   - offsets, columns: The largest budgets of any head.
  ///   - isChunked: Whether the prompt is read in chunks. A chunk sees a part of the offsets; those
  ///     beyond the budgets then get falling scores, so that each chunk finds its budget in them.
  package init(
    _ setting: Setting, keys: Int, offsets: Int, columns: Int, isChunked: Bool = false,
    seed: UInt64
  ) {
    var random = SeededGenerator(seed: seed)
    let wanted = min(offsets, keys)
    var scores = [Float](repeating: 0, count: keys)
    switch setting {
    case .clustered:
      // Runs begin at distinct multiples of their length, shifted by one number for the head.
      let shift = random.next(below: Self.run)
      let starts = Self.distinct(
        (wanted + Self.run - 1) / Self.run, below: keys / Self.run, &random)
      let others =
        isChunked ? Self.others(than: starts, below: keys / Self.run, &random) : []
      for (rank, start) in (starts + others).enumerated() {
        let score = Self.signedScore(rank: rank, of: starts.count)
        for offset in start * Self.run + shift..<(start + 1) * Self.run + shift
        where offset < keys { scores[offset] = score }
      }
    case .scattered:
      let chosen = Self.distinct(wanted, below: keys, &random)
      let others = isChunked ? Self.others(than: chosen, below: keys, &random) : []
      for (rank, offset) in (chosen + others).enumerated() {
        scores[offset] = Self.signedScore(rank: rank, of: chosen.count)
      }
    }
    offsetScores = scores
    scores = [Float](repeating: 0, count: keys)
    let chosen = Self.distinct(min(columns, keys), below: keys, &random)
    for (rank, column) in chosen.enumerated() {
      scores[column] = Self.columnScore(rank: rank, of: chosen.count)
    }
    columnScores = scores
  }

  /// Softmax mass falls with the rank to a half; a column, which all 64 rows see, must stay above
  /// the keys in the middle of a run, which they nearly all see too.
  ///
  /// Ranks beyond `count` lie below, and fall with every doubling.
  private static func offsetScore(rank: Int, of count: Int) -> Float {
    guard rank >= count else { return 8 - 0.7 * Float(rank) / Float(max(count, 1)) }
    var score: Float = 6.8
    var (doubled, left) = (max(count, 1), rank - count)
    while left >= doubled {
      score -= 0.6
      left -= doubled
      doubled *= 2
    }
    return max(1, score - 0.6 * Float(left) / Float(doubled))
  }

  private static func signedScore(rank: Int, of count: Int) -> Float {
    offsetScore(rank: rank, of: count) * (rank < count ? 1 : -1)
  }

  /// The score of a key at an offset and in a column.
  ///
  /// Both add up, but for offsets beyond the budgets. Every offset has a score there, so every column would
  /// lift the 64 offsets at which the last rows see it, each by one row's noise: chunks would choose
  /// offsets that lie scattered in place of runs.
  package static func score(offset: Float, column: Float) -> Float {
    offset < 0 ? max(column, -offset) : column + offset
  }

  /// All numbers below a limit but for some, in random order.
  private static func others(
    than numbers: [Int], below limit: Int, _ random: inout SeededGenerator
  ) -> [Int] {
    let taken = Set(numbers)
    var others = (0..<limit).filter { !taken.contains($0) }
    for index in others.indices.reversed() {
      others.swapAt(index, random.next(below: index + 1))
    }
    return others
  }

  private static func columnScore(rank: Int, of count: Int) -> Float {
    9.5 - 0.4 * Float(rank) / Float(max(count, 1))
  }

  /// So many different numbers below a limit, in random order.
  private static func distinct(
    _ count: Int, below limit: Int, _ random: inout SeededGenerator
  ) -> [Int] {
    var taken = Set<Int>()
    var numbers: [Int] = []
    while numbers.count < min(count, limit) {
      let number = random.next(below: limit)
      if taken.insert(number).inserted { numbers.append(number) }
    }
    return numbers
  }
}

/// Puts synthetic queries and keys in the place of a model's own.
package final class SyntheticInjection: QueryKeyInjection, @unchecked Sendable {
  private let backend: any SyntheticBackend
  private let offsetScores: Tensor
  private let columnScores: Tensor
  private let keys: Int
  private let magnitude: Float
  private let watch: any WorkStopwatch

  /// - Parameters:
  ///   - keys: Tokens of the prompt.
  ///   - offsets, columns: The largest budgets of any head.
  ///   - isChunked: Whether it is read in chunks.
  package init(
    _ setting: SyntheticAttention.Setting, keys: Int, offsets: Int, columns: Int,
    isChunked: Bool = false, shape: AttentionShape, seed: UInt64, backend: any SyntheticBackend
  ) throws {
    self.backend = backend
    self.keys = keys
    // A score is scale * q . k, and k holds the score itself.
    magnitude = 1 / shape.scale
    watch = backend.makeStopwatch()
    var tables: [[Float]] = [[], []]
    for head in 0..<shape.keyValueHeads {
      let attention = SyntheticAttention(
        setting, keys: keys, offsets: offsets, columns: columns, isChunked: isChunked,
        seed: seed &+ UInt64(head))
      tables[0] += attention.offsetScores
      tables[1] += attention.columnScores
    }
    let tensors = try tables.map { table in
      let tensor = try backend.makeTensor(
        .float32, [shape.keyValueHeads, keys], purpose: "synthetic attention")
      try backend.write(table, to: tensor)
      return tensor
    }
    offsetScores = tensors[0]
    columnScores = tensors[1]
  }

  package func replaceKeys(_ k: Tensor, firstPosition: Int) throws {
    try watch.time {
      try backend.injectKeys(
        k, firstPosition: firstPosition, offsetScores: offsetScores, columnScores: columnScores,
        seed: 7)
    }
  }

  package func replaceQueries(_ q: Tensor, firstPosition: Int) throws {
    try watch.time {
      try backend.injectQueries(
        q, firstPosition: firstPosition, keys: keys, magnitude: magnitude)
    }
  }

  package var seconds: Double { watch.seconds }
}
