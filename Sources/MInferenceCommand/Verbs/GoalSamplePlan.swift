import EvaluationTasks
import MInference
import PatternSearch

/// The texts and retrieval prompts of a search by what the model loses: for each length a text and some
/// prompts to choose by, and others that validate.
struct GoalSamplePlan {
  /// Files; empty: chronicles.
  let texts: [String]
  let validating: [String]
  /// Empty: 32,768 tokens, or what there is.
  let lengths: [Int]
  let prompts: Int
  let positions: Int

  /// The seeds of chronicles; those that evaluations read are others.
  private static let choosingSeed: UInt64 = 0x5EA_2C41
  private static let validatingSeed: UInt64 = 0x5EA_2C42
  /// A length is worth searching from here on.
  private static let leastLength = 4096

  /// A source of texts and of what prompts hide their facts in.
  private struct Source {
    let name: String
    let ids: [Int32]
    /// nil: a chronicle of each prompt's own.
    let text: String?
    /// Whether its windows lie at its end.
    let fromEnd: Bool
  }

  func samples(for model: LanguageModel) throws -> GoalSamples {
    let (choosing, validating) = try sources(for: model)
    let lengths = try lengths(choosing + validating, model)
    let seed = RetrievalPrompt.choosingSeed
    return GoalSamples(
      choosing: try lengths.flatMap {
        try samples($0, choosing, prompts: prompts, seed: seed, model)
      },
      validating: try lengths.flatMap {
        try samples($0, validating, prompts: prompts, seed: seed &+ 1000, model)
      })
  }

  /// Samples that validate, at further lengths.
  func validatingSamples(
    at lengths: [Int], for model: LanguageModel
  ) throws -> [GoalSample] {
    guard !lengths.isEmpty else { return [] }
    let (_, validating) = try sources(for: model, longest: lengths.max() ?? 0)
    return try lengths.flatMap { length in
      try check(length, validating, model, flag: "--validate-lengths")
      return try samples(
        length, validating, prompts: prompts, seed: RetrievalPrompt.choosingSeed &+ 2000, model)
    }
  }

  private func sources(
    for model: LanguageModel, longest: Int? = nil
  ) throws -> (choosing: [Source], validating: [Source]) {
    let longest = longest ?? lengths.max() ?? min(32768, model.contextLength)
    func read(_ path: String, fromEnd: Bool = false) throws -> Source {
      let text = try InputText.read(path: path)
      return Source(
        name: path,
        ids: model.tokenizer.encode(text, specialTokens: .asText, addTemplate: false), text: text,
        fromEnd: fromEnd)
    }
    func chronicle(_ seed: UInt64) throws -> Source {
      Source(
        name: "chronicle",
        ids: try EvaluationText.tokens(longest, of: nil, seed: seed, for: model), text: nil,
        fromEnd: false)
    }
    guard !texts.isEmpty else {
      return (
        [try chronicle(Self.choosingSeed), try chronicle(Self.choosingSeed + 100)],
        validating.isEmpty
          ? [try chronicle(Self.validatingSeed)] : try validating.map { try read($0) }
      )
    }
    if !validating.isEmpty {
      return (try texts.map { try read($0) }, try validating.map { try read($0) })
    }
    if texts.count > 1 {
      return (
        try texts.dropLast().map { try read($0) }, try texts.suffix(1).map { try read($0) }
      )
    }
    let only = try read(texts[0])
    guard only.ids.count >= 2 * longest else {
      return ([only], [try chronicle(Self.validatingSeed)])
    }
    return ([only], [Source(name: only.name, ids: only.ids, text: only.text, fromEnd: true)])
  }

  private func lengths(_ sources: [Source], _ model: LanguageModel) throws -> [Int] {
    let shortest = sources.map(\.ids.count).min() ?? 0
    let wanted = lengths.isEmpty ? [min(32768, shortest, model.contextLength)] : lengths
    for length in wanted { try check(length, sources, model, flag: "--lengths") }
    return Set(wanted).sorted()
  }

  private func check(
    _ length: Int, _ sources: [Source], _ model: LanguageModel, flag: String
  ) throws {
    guard length <= model.contextLength else {
      throw CommandFailure(
        .usage,
        "\(flag): \(length) is more than the model's context of \(model.contextLength); give less")
    }
    for source in sources
    where source.ids.count < length || length < min(Self.leastLength, model.contextLength) {
      throw SearchError.sampleTooShort(
        name: source.name, tokens: source.ids.count, wanted: max(length, Self.leastLength))
    }
  }

  private func samples(
    _ length: Int, _ sources: [Source], prompts: Int, seed: UInt64, _ model: LanguageModel
  ) throws -> [GoalSample] {
    let texts = sources.map { source in
      let ids = source.fromEnd ? source.ids.suffix(length) : source.ids.prefix(length)
      return GoalSample(
        name: source.name, kind: .text, length: length, ids: Array(ids),
        positions: AgreementSample.spread(positions, over: 0..<length - 1))
    }
    return try texts
      + (0..<prompts).map { number in
        let prompt = try RetrievalPrompt(
          length: length, seed: seed &+ UInt64(number),
          text: sources[number % sources.count].text.map { .text($0) }, for: model)
        return GoalSample(
          name: "retrieval prompt \(number + 1)", kind: .retrieval, length: length,
          ids: prompt.ids, positions: prompt.positions)
      }
  }
}
