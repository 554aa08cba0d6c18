public import Compute

/// The hidden states after the last layer at sampled positions of a text. They suffice to compare two
/// readings, and take megabytes where the logits would take gigabytes.
public struct SampledStates: Sendable {
  /// Ascending, distinct.
  public let positions: [Int]
  /// [positions, hidden], before the last norm.
  let hidden: Tensor
  /// Of the prefill that gave them.
  public let report: PrefillReport

  /// The states of the positions below `end`, as a reading of the text's first `end` tokens gives them:
  /// attention is causal. The report stays that of the whole text.
  ///
  /// - Returns: nil where no position lies below.
  package func prefix(_ end: Int) -> SampledStates? {
    let count = positions.prefix { $0 < end }.count
    guard count > 0 else { return nil }
    return SampledStates(
      positions: Array(positions[..<count]), hidden: hidden.slice(rows: 0..<count), report: report)
  }
}

extension Transformer {
  /// Reads tokens and keeps the hidden states behind some of them.
  ///
  /// - Parameters:
  ///   - positions: Ascending, distinct, each below `ids.count`; at least one.
  ///   - keyValues: Number format and place of the keys and values, which are thrown away.
  /// - Throws: as ``prefill(_:cache:options:)``.
  public func sampledStates(
    of ids: [Int32], at positions: [Int], keyValues: KeyValueOptions = KeyValueOptions(),
    options: PrefillOptions = PrefillOptions()
  ) throws -> SampledStates {
    guard !ids.isEmpty else { throw TransformerError.emptyPrompt }
    guard let first = positions.first, first >= 0, positions.last ?? 0 < ids.count,
      zip(positions, positions.dropFirst()).allSatisfy({ $0 < $1 })
    else {
      throw TransformerError.invalidOption(
        name: "the sampled positions", value: "\(positions.count) numbers",
        allowed: "at least one, ascending, each below the text's \(ids.count) tokens")
    }
    let cache = try makeCache(
      capacity: ids.count, keyValues: keyValues, chunk: options.chunk, planner: options.planner)
    let hidden = try backend.makeTensor(
      backend.activationType, [positions.count, hiddenSize],
      purpose: "the hidden states of \(positions.count) positions")
    let run = try makeReading(ids, cache: cache, options: options, wantsAllRows: true)
    var next = 0
    try run.finish { states, chunk in
      let end = next + positions[next...].prefix { $0 < chunk.upperBound }.count
      guard end > next else { return }
      try backend.gatherRows(
        states, rows: positions[next..<end].map { Int32($0 - chunk.lowerBound) },
        into: hidden.slice(rows: next..<end))
      next = end
    }
    return SampledStates(positions: positions, hidden: hidden, report: run.report)
  }
}

extension Transformer {
  /// The numbers of sampled states, [positions * hidden].
  package func values(of states: SampledStates) throws -> [Float] {
    try backend.read(states.hidden)
  }

  /// States with these numbers, as ``values(of:)`` gave them; their report is empty.
  package func sampledStates(_ values: [Float], at positions: [Int]) throws -> SampledStates {
    guard values.count == positions.count * hiddenSize else {
      throw TransformerError.hiddenStates(
        problem: "are \(values.count) numbers, not those of \(positions.count) positions")
    }
    let hidden = try backend.makeTensor(
      backend.activationType, [positions.count, hiddenSize],
      purpose: "the hidden states of \(positions.count) positions")
    try backend.write(values, to: hidden)
    return SampledStates(
      positions: positions, hidden: hidden,
      report: PrefillReport(
        layers: decoder.layers, heads: decoder.attention[0].queryHeads))
  }
}
