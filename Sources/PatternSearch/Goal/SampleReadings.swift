package import Compute
import SparseAttention
package import Transformers

/// One sample read with dense attention.
package struct DenseReading: Sendable {
  package let states: SampledStates
  /// Of the attention kernel, and of the prefill.
  let attentionSeconds: Double
  let seconds: Double

  /// Seconds that the beginning of the text takes: linear layers grow with its tokens, attention with
  /// their square.
  func seconds(ofBeginning share: Double) -> Double {
    (seconds - attentionSeconds) * share + attentionSeconds * share * share
  }
}

/// One sample read under a choice, compared with its dense reading.
struct SparseReading: Sendable, Codable {
  let kind: GoalSample.Kind
  let length: Int
  let sums: AgreementSums
  /// [layer][head]
  let densities: [[Double]]
  let density: Double
  let attentionSeconds: Double
  let seconds: Double
  /// Of the dense reading.
  let denseAttentionSeconds: Double
  let denseSeconds: Double
}

extension [SparseReading] {
  /// The figures by length.
  var figures: [SearchFigures.Length] {
    Set(map(\.length)).sorted().map { length in
      let own = filter { $0.length == length }
      func sums(_ kind: GoalSample.Kind) -> AgreementSums {
        own.filter { $0.kind == kind }.reduce(into: AgreementSums()) { $0 += $1.sums }
      }
      func ratio(_ one: KeyPath<SparseReading, Double>, _ other: KeyPath<SparseReading, Double>)
        -> Double
      {
        own.reduce(0) { $0 + $1[keyPath: one] } / own.reduce(0) { $0 + $1[keyPath: other] }
      }
      let answers = sums(.retrieval)
      // Where there are prompts alone, they are what is judged.
      let texts = own.contains { $0.kind == .text } ? sums(.text) : answers
      return SearchFigures.Length(
        tokens: length, divergence: texts.meanDivergence, sameShare: texts.sameShare,
        perplexityRatio: texts.perplexityRatio, answerTokens: answers.scored,
        answerTokensRight: answers.right, answerTokensRightDense: answers.referenceRight,
        density: own.reduce(0) { $0 + $1.density } / Double(own.count),
        attentionTime: ratio(\.attentionSeconds, \.denseAttentionSeconds),
        prefillTime: ratio(\.seconds, \.denseSeconds))
    }
  }
}

/// Reads samples on the device that will run the patterns.
package struct SampleReader {
  let model: Transformer
  let keyValues: KeyValueOptions
  let chunk: Int?
  /// Told what is read, the share of it that is done, and its tokens.
  let progress: @Sendable (_ stage: String, _ fraction: Double, _ tokens: Int) throws -> Void
  let isCancelled: @Sendable () -> Bool

  package init(
    model: Transformer, keyValues: KeyValueOptions, chunk: Int?,
    progress:
      @escaping @Sendable (_ stage: String, _ fraction: Double, _ tokens: Int) throws ->
      Void, isCancelled: @escaping @Sendable () -> Bool
  ) {
    self.model = model
    self.keyValues = keyValues
    self.chunk = chunk
    self.progress = progress
    self.isCancelled = isCancelled
  }

  private func options(_ name: String, _ planner: AttentionPlanner?) -> PrefillOptions {
    let progress = progress
    return PrefillOptions(
      planner: planner, chunk: chunk, progress: { try progress(name, $0.fraction, $0.tokens) },
      isCancelled: isCancelled)
  }

  func readDensely(_ sample: GoalSample) throws -> DenseReading {
    let states = try model.sampledStates(
      of: sample.ids, at: sample.positions, keyValues: keyValues,
      options: options("\(sample.name), dense", nil))
    return DenseReading(
      states: states, attentionSeconds: states.report.kernelSeconds,
      seconds: states.report.seconds)
  }

  /// - Parameter share: The part of a text's beginning that is read, above 0; retrieval prompts are
  ///   read whole.
  func read(
    _ sample: GoalSample, planner: AttentionPlanner, dense: DenseReading, share: Double = 1
  ) throws -> SparseReading {
    var ids = sample.ids
    var reference = dense.states
    if sample.kind == .text, share < 1 {
      let end = max(Int(share * Double(ids.count)), 1)
      if let prefix = reference.prefix(end) {
        ids = Array(ids[..<end])
        reference = prefix
      }
    }
    let states = try model.sampledStates(
      of: ids, at: reference.positions, keyValues: keyValues,
      options: options(sample.name, planner))
    let found = try model.agreement(
      of: states, with: reference, ids: ids, isCancelled: isCancelled)
    let report = states.report
    let part = Double(ids.count) / Double(sample.ids.count)
    return SparseReading(
      kind: sample.kind, length: sample.length, sums: AgreementSums(found),
      densities: report.headDensities, density: report.density,
      attentionSeconds: report.kernelSeconds + report.indexSeconds, seconds: report.seconds,
      denseAttentionSeconds: dense.attentionSeconds * part * part,
      denseSeconds: dense.seconds(ofBeginning: part))
  }
}
