package import JSON
public import MInference

/// How near readings with sparse attention come to the dense one: divergence of next-token
/// distributions, same most likely token, perplexity, and retrieved answers.
///
/// Each sample is read once densely and once by each method. Of a reading the hidden states at sampled
/// positions are kept, and logits are compared on the device, a few rows at a time.
public struct AgreementRun: Sendable {
  /// A way of reading, by its name; dense attention is the reference and none of these.
  public struct Method: Sendable {
    public let name: String
    /// nil: dense.
    package let planner: AttentionPlanner?
    package let chunk: Int?

    package init(name: String, planner: AttentionPlanner?, chunk: Int? = nil) {
      self.name = name
      self.planner = planner
      self.chunk = chunk
    }
  }

  /// What the reference is called in tables and results.
  public static let reference = "dense"

  /// Intervals resample blocks of neighbouring positions; a text has so many at most.
  static let blocksOfText = 64

  public let samples: [AgreementSample]

  public init(_ samples: [AgreementSample]) { self.samples = samples }

  /// One sample read by one method.
  public struct Record: Sendable, Hashable {
    public var sample: String
    public var kind: AgreementSample.Kind
    /// Tokens of the sample.
    public var tokens: Int
    public var method: String
    public var blocks: [Block]
    /// Computed / causal pairs.
    public var density: Double
    /// Of the prefill; and, of it, of indices and the attention kernel.
    public var seconds: Double
    public var attentionSeconds: Double

    /// Neighbouring positions: the unit of resampling.
    public struct Block: Sendable, Hashable {
      public var first: Int
      public var last: Int
      public var sums: AgreementSums
    }

    /// Over all blocks.
    public var sums: AgreementSums {
      blocks.reduce(into: AgreementSums()) { $0 += $1.sums }
    }
  }

  /// Reads what the results file does not hold yet, on a thread of its own.
  ///
  /// - Returns: Of every sample the reference and the methods, in their order.
  /// - Throws: ``RunError``, and what the model throws.
  public func run(
    _ methods: [Method], on model: LanguageModel, results: String? = nil,
    run: [(name: String, value: String)] = [],
    progress: @escaping @Sendable (EvaluationRun.Progress) -> Void = { _ in }
  ) async throws -> [Record] {
    try await WorkerThread.run {
      try self.readAll(methods, on: model, results: results, run: run, progress: progress)
    }
  }

  private func readAll(
    _ methods: [Method], on model: LanguageModel, results: String?,
    run: [(name: String, value: String)],
    progress: @escaping @Sendable (EvaluationRun.Progress) -> Void
  ) throws -> [Record] {
    var log = try RunLog<Record>(path: results, run: run)
    let all = [Method(name: Self.reference, planner: nil, chunk: methods.first?.chunk)] + methods
    var done = 0
    for sample in samples {
      let missing = all.filter { log[sample.name, $0.name] == nil }
      done += all.count - missing.count
      guard !missing.isEmpty else { continue }
      func read(_ method: Method) throws -> SampledStates {
        let finished = done
        return try model.transformer.sampledStates(
          of: sample.ids, at: sample.positions,
          options: PrefillOptions(
            planner: method.planner, chunk: method.chunk,
            progress: {
              progress(
                EvaluationRun.Progress(
                  task: sample.name, method: method.name, done: finished,
                  total: samples.count * all.count, fraction: $0.fraction, tokens: $0.tokens))
            }))
      }
      let reference = try read(all[0])
      for method in missing {
        let states = method.name == Self.reference ? reference : try read(method)
        let found = try model.transformer.agreement(of: states, with: reference, ids: sample.ids)
        try log.append(Record(sample, method: method.name, found, report: states.report))
        done += 1
      }
    }
    return samples.flatMap { sample in all.compactMap { log[sample.name, $0.name] } }
  }
}

extension AgreementRun.Record {
  init(
    _ sample: AgreementSample, method: String, _ found: [PositionAgreement], report: PrefillReport
  ) {
    self.init(
      sample: sample.name, kind: sample.kind, tokens: sample.ids.count, method: method,
      blocks: sample.blocks.map { range in
        Block(
          first: found[range.lowerBound].position, last: found[range.upperBound - 1].position,
          sums: AgreementSums(found[range]))
      },
      density: report.density, seconds: report.seconds,
      attentionSeconds: report.kernelSeconds + report.indexSeconds)
  }
}

extension AgreementRun.Record: RunLine {
  package var key: RunKey { RunKey(task: sample, method: method) }

  package var json: JSONValue {
    .object([
      ("sample", .string(sample)), ("kind", .string(kind.rawValue)), ("tokens", .integer(tokens)),
      ("method", .string(method)), ("density", .number(density)), ("seconds", .number(seconds)),
      ("attention_seconds", .number(attentionSeconds)),
      (
        "blocks",
        .array(
          blocks.map { block in
            let sums = block.sums
            return .array([
              .integer(block.first), .integer(block.last), .integer(sums.positions),
              .number(sums.divergence), .integer(sums.same), .integer(sums.scored),
              .number(sums.loss), .number(sums.referenceLoss), .integer(sums.right),
              .integer(sums.referenceRight),
            ])
          })
      ),
    ])
  }

  package init?(_ value: JSONValue) {
    guard let sample = value["sample"]?.text, let method = value["method"]?.text,
      let kind = value["kind"]?.text.flatMap(AgreementSample.Kind.init(rawValue:)),
      let tokens = value["tokens"]?.int, let density = value["density"]?.double,
      let seconds = value["seconds"]?.double,
      let attentionSeconds = value["attention_seconds"]?.double,
      let blocks = value["blocks"]?.elements?.compactMap(Block.init(_:))
    else { return nil }
    self.init(
      sample: sample, kind: kind, tokens: tokens, method: method, blocks: blocks,
      density: density, seconds: seconds, attentionSeconds: attentionSeconds)
  }
}

extension AgreementRun.Record.Block {
  init?(_ value: JSONValue) {
    guard let cells = value.elements, cells.count == 10,
      let first = cells[0].int, let last = cells[1].int, let positions = cells[2].int,
      let divergence = cells[3].double, let same = cells[4].int, let scored = cells[5].int,
      let loss = cells[6].double, let referenceLoss = cells[7].double, let right = cells[8].int,
      let referenceRight = cells[9].int
    else { return nil }
    var sums = AgreementSums()
    sums.positions = positions
    sums.divergence = divergence
    sums.same = same
    sums.scored = scored
    sums.loss = loss
    sums.referenceLoss = referenceLoss
    sums.right = right
    sums.referenceRight = referenceRight
    self.init(first: first, last: last, sums: sums)
  }
}
