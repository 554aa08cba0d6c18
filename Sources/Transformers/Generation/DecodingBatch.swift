import Compute

/// One decoding step of several sequences of a model: a token of each is decoded, and the one after it is
/// chosen.
///
/// The linear layers read the weights once for all sequences (``BatchDecoder``). Each sequence has its own
/// positions, keys and values, and its own sampler. Used by one thread at a time.
package final class DecodingBatch {
  /// A sequence of a step. Its generator waits for a token that is to be decoded
  /// (``TokenGenerator/Need/decoding(_:)``).
  package struct Member {
    package let generator: TokenGenerator
    /// Gets the logits on the host before the token is chosen; nil: they stay where the backend computes.
    package let examine: ((inout [Float]) throws -> Void)?

    package init(
      _ generator: TokenGenerator, examining examine: ((inout [Float]) throws -> Void)? = nil
    ) {
      self.generator = generator
      self.examine = examine
    }
  }

  private let decoder: BatchDecoder
  private var model: Transformer { decoder.model }

  package init(_ model: Transformer) { decoder = BatchDecoder(model: model) }

  /// The next token of each sequence, nil for one that ends with it; or what went wrong with it, after
  /// which its cache is as before.
  package func next(_ members: [Member]) -> [Result<Int32?, any Error>] {
    guard let logits = decodedTogether(members) else {
      // One of them is at fault: alone, the others go on.
      return members.map { member in
        Result { try member.generator.next(examining: member.examine) }
      }
    }
    for (row, member) in members.enumerated() {
      member.generator.supply(logits.slice(rows: row..<row + 1))
    }
    var results = [Result<Int32?, any Error>?](repeating: nil, count: members.count)
    for rows in runs(of: members) {
      let chosen = chosenTogether(rows, members, logits)
      for row in rows {
        results[row] = chosen[row - rows.lowerBound]
      }
    }
    return zip(members, results).map { member, result in
      result ?? Result { try member.generator.choose(examining: member.examine) }
    }
  }

  /// [members, vocabulary]; nil where it failed, or where there is only one.
  private func decodedTogether(_ members: [Member]) -> Tensor? {
    guard members.count > 1 else { return nil }
    var ids: [Int32] = []
    for member in members {
      guard case .decoding(let id) = member.generator.need() else { return nil }
      ids.append(id)
    }
    return try? decoder.logits(behind: ids, caches: members.map(\.generator.cache))
  }

  /// Neighbours whose tokens one call of the backend chooses: it makes the same kind of choice in all
  /// rows.
  private func runs(of members: [Member]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for (row, member) in members.enumerated() {
      let sampler = member.generator.sampler
      guard member.examine == nil else { continue }
      if let last = runs.last, last.upperBound == row,
        members[last.lowerBound].generator.sampler.draw == sampler.draw
      {
        runs[runs.count - 1] = last.lowerBound..<row + 1
      } else {
        runs.append(row..<row + 1)
      }
    }
    return runs
  }

  private func chosenTogether(
    _ rows: Range<Int>, _ members: [Member], _ logits: Tensor
  ) -> [Result<Int32?, any Error>] {
    let generators = members[rows].map(\.generator)
    let logits = logits.slice(rows: rows)
    let chosen = Result { () throws -> [Int32?] in
      for (row, generator) in generators.enumerated() {
        try generator.prepare(logits.slice(rows: row..<row + 1))
      }
      if let draw = generators[0].sampler.draw {
        return try model.backend.draw(
          draw, from: logits, random: generators.map { $0.sampler.nextBits() })
      }
      return try model.backend.mostLikely(logits)
    }
    return generators.enumerated().map { row, generator in
      chosen.flatMap { ids in
        Result {
          if let id = ids[row] { return generator.accept(id) }
          let values = try model.backend.read(logits.slice(rows: row..<row + 1))
          try Sampler.validate(values)
          return generator.accept(Sampler.mostLikely(values))
        }
      }
    }
  }
}
