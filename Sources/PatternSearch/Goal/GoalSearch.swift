public import Compute
import Files
public import SparseAttention
public import Transformers

/// Options of a search for patterns that keep a ``SearchGoal``.
public struct GoalSearchOptions: Sendable {
  public var goal: SearchGoal
  /// Patterns that heads may get; dense attention is always one of them.
  public var candidates: [HeadPattern]
  /// The limit of the search, in dense passes of its samples; nil: 3, on a processor 1.5.
  public var passes: Double?
  /// Tokens of a prompt read at once when the patterns are used; nil: all of them.
  public var chunk: Int?
  public var keyValueType: DataType?
  /// A file in which readings are kept, so that an interrupted search continues; nil: none.
  public var workFile: String?
  /// Called with what is being read, the fraction done, and its tokens.
  public var progress: @Sendable (_ stage: String, _ fraction: Double, _ tokens: Int) throws -> Void
  /// Asked between blocks of rows; true ends the search with `CancellationError`.
  public var isCancelled: @Sendable () -> Bool

  public init(
    goal: SearchGoal, candidates: [HeadPattern] = Selectors.searchCandidates,
    passes: Double? = nil, chunk: Int? = nil, keyValueType: DataType? = nil,
    workFile: String? = nil,
    progress:
      @escaping @Sendable (_ stage: String, _ fraction: Double, _ tokens: Int) throws ->
      Void = { _, _, _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) {
    self.goal = goal
    self.candidates = candidates
    self.passes = passes
    self.chunk = chunk
    self.keyValueType = keyValueType
    self.workFile = workFile
    self.progress = progress
    self.isCancelled = isCancelled
  }
}

/// Finds the patterns that keep a goal stated in what the model loses or in time, by reading samples on
/// the device that will run them.
///
/// 1. Every sample is read densely. On the way through one of them each candidate is run in every head
///    on a few rows: what the head would lose, what it would compute.
/// 2. Rules for all heads alike are read end to end, from the frontier of predicted time and loss, until
///    the cheapest one that keeps the goal is known.
/// 3. Heads get candidates of their own, with as much predicted loss as the goal leaves, and are read end
///    to end, too. They are taken if they keep the goal and are faster than the best rule.
/// 4. The choice is read on held-out samples. While it misses the goal there, a more careful one is taken.
///
/// Reading stops when the allowed passes are used up; one pass over the validating samples is reserved.
public struct GoalSearch: Sendable {
  public let model: Transformer
  /// Of the weights; see `WeightSource.fingerprint(of:)`.
  public let fingerprint: String
  public var options: GoalSearchOptions

  public init(model: Transformer, fingerprint: String, options: GoalSearchOptions) {
    self.model = model
    self.fingerprint = fingerprint
    self.options = options
  }

  /// The default limit of passes: 3 on a GPU, 1.5 on a processor.
  public static func standardPasses(onDevice name: String) -> Double { name == "cuda" ? 3 : 1.5 }

  /// - Throws: ``SearchError`` for samples that are too few or too short, `CancellationError`, and what models
  ///   and backends throw.
  public func run(_ samples: GoalSamples) throws -> GoalResult {
    guard !samples.choosing.isEmpty else { throw SearchError.noSamples }
    for sample in samples.choosing + samples.validating
    where sample.ids.count < 2 * VerticalSlashRule.lastRows || sample.positions.isEmpty {
      throw SearchError.sampleTooShort(
        name: sample.name, tokens: sample.ids.count, wanted: 2 * VerticalSlashRule.lastRows)
    }
    let work = try options.workFile.map {
      try WorkFile(
        path: $0, identity: identity(samples),
        candidates: options.candidates.count { $0 != .dense })
    }
    var run = GoalSearchRun(model, samples: samples, options: options, work: work)
    return try run.result()
  }

  /// Does not include the goal: readings are valid for every goal.
  private func identity(_ samples: GoalSamples) -> SearchIdentity {
    var candidates = Fingerprint()
    candidates.add("what the model loses")
    for pattern in options.candidates { candidates.add(GoalSearchRun.name(pattern)) }
    return SearchIdentity(
      model: fingerprint, layers: model.layerCount,
      heads: model.attentionShape(layer: 0).queryHeads, device: model.backend.name,
      candidates: candidates.text,
      samples: (samples.choosing + samples.validating).map { sample in
        var ids = Fingerprint()
        ids.add(sample.ids)
        ids.add("\(sample.positions)")
        return ids.text
      }, chunk: options.chunk,
      keyValueType: (options.keyValueType ?? model.backend.activationType).rawValue,
      columnsThatFillTile: nil, denseBelow: 0)
  }

  /// Reads a choice at other lengths, beside the passes of the search.
  ///
  /// - Returns: The figures by length, and the seconds of the dense readings and of the sparse ones.
  public func validate(
    _ result: GoalResult, on samples: [GoalSample]
  ) throws -> (figures: [SearchFigures.Length], dense: Double, sparse: Double) {
    let reader = SampleReader(model, options: options)
    let planner = GoalSearchRun.planner(for: result.patterns)
    var readings: [SparseReading] = []
    var (dense, sparse) = (Duration.zero, Duration.zero)
    let clock = ContinuousClock()
    for sample in samples {
      let start = clock.now
      let reference = try reader.readDensely(sample)
      let middle = clock.now
      readings.append(try reader.read(sample, planner: planner, dense: reference))
      dense += middle - start
      sparse += clock.now - middle
    }
    return (readings.figures, dense.inSeconds, sparse.inSeconds)
  }
}

extension SampleReader {
  init(_ model: Transformer, options: GoalSearchOptions) {
    self.init(
      model: model, keyValues: KeyValueOptions(type: options.keyValueType, place: nil),
      chunk: options.chunk, progress: options.progress, isCancelled: options.isCancelled)
  }
}
