public import Compute

/// The pattern of every head of a model, as searched offline and stored in a file.
public struct PatternConfiguration: Sendable, Equatable {
  /// patterns[layer][head].
  public var patterns: [[HeadPattern]]
  /// Measurements of each head from when the file was made, or nil; the shape of ``patterns``.
  public var measurements: [[HeadMeasurement?]]
  /// The file's own metadata.
  public var metadata: PatternMetadata
  /// The file that it was read from, for messages.
  public let source: String?
  /// Whether the file is certain about its number of heads. Upstream's files name no model: one
  /// that lists only some heads may stand for a model with more.
  let headsAreComplete: Bool

  /// - Parameter measurements: of the shape of `patterns`; nil: nothing was measured.
  public init(
    patterns: [[HeadPattern]], measurements: [[HeadMeasurement?]]? = nil,
    metadata: PatternMetadata = PatternMetadata()
  ) {
    self.init(
      patterns: patterns, measurements: measurements ?? patterns.map { $0.map { _ in nil } },
      metadata: metadata, source: nil, headsAreComplete: true)
  }

  init(
    patterns: [[HeadPattern]], measurements: [[HeadMeasurement?]], metadata: PatternMetadata,
    source: String?, headsAreComplete: Bool
  ) {
    self.patterns = patterns
    self.measurements = measurements
    self.metadata = metadata
    self.source = source
    self.headsAreComplete = headsAreComplete
  }

  /// The same pattern for every head.
  public static func uniform(
    _ pattern: HeadPattern, layers: Int, heads: Int
  ) -> PatternConfiguration {
    PatternConfiguration(
      patterns: Array(repeating: Array(repeating: pattern, count: heads), count: layers))
  }

  public var layers: Int { patterns.count }

  /// Heads of a layer; of upstream's files, those up to the highest that is listed.
  public var heads: Int { patterns.first?.count ?? 0 }

  /// Block-sparse heads of the layer with most of them, and the most blocks that any head takes.
  public var blockSparse: (heads: Int, topK: Int) {
    patterns.reduce((heads: 0, topK: 0)) { most, layer in
      let budgets = layer.compactMap { ($0.selector as? BlockSparse)?.topK }
      return (max(most.heads, budgets.count), max(most.topK, budgets.max() ?? 0))
    }
  }

  /// Heads that choose blocks by their shares, in the layer with most of them, and what any head scores.
  public var chosenBlocks: (heads: Int, sources: Set<ShareSource>) {
    patterns.reduce((heads: 0, sources: [])) { most, layer in
      let sources = layer.compactMap(\.needs.blockShares)
      return (max(most.heads, sources.count), most.sources.union(sources))
    }
  }

  /// The costs to plan with on a kind of device ("cpu", "cuda"): the file's own if it was made on the
  /// same kind, otherwise the defaults.
  public func costModel(onDevice name: String) -> SparseCostModel {
    guard metadata.device == name else { return SparseCostModel() }
    return metadata.costs ?? SparseCostModel()
  }

  /// The configuration for a model of this shape. Heads that the file leaves out get
  /// ``HeadPattern/unlisted``, as upstream has it.
  ///
  /// - Throws: ``PatternError/shape`` if the file was made for another shape of model.
  public func validated(layers: Int, heads: Int) throws -> PatternConfiguration {
    guard
      layers == self.layers, headsAreComplete ? heads == self.heads : heads >= self.heads
    else {
      throw PatternError.shape(
        file: source ?? "the pattern configuration", layers: self.layers, heads: self.heads,
        modelLayers: layers, modelHeads: heads)
    }
    let missing = heads - self.heads
    guard missing > 0 else { return self }
    return PatternConfiguration(
      patterns: patterns.map { $0 + Array(repeating: .unlisted, count: missing) },
      measurements: measurements.map { $0 + Array(repeating: nil, count: missing) },
      metadata: metadata, source: source, headsAreComplete: true)
  }
}

extension PatternConfiguration {
  /// Budgets of columns and offsets multiplied by a factor, rounded down; a factor below 1 changes
  /// nothing.
  public func scalingBudgets(by factor: Double) -> PatternConfiguration {
    guard factor > 1 else { return self }
    var scaled = self
    scaled.patterns = patterns.map { layer in
      layer.map { pattern in
        guard let bands = pattern.selector as? VerticalSlash else { return pattern }
        return .verticalSlash(
          vertical: Int(Double(bands.vertical) * factor), slash: Int(Double(bands.slash) * factor))
      }
    }
    return scaled
  }
}

/// Metadata of a pattern file; everything is optional.
public struct PatternMetadata: Sendable, Equatable {
  /// The model's name.
  public var model: String?
  /// The device on which times were measured.
  public var device: String?
  /// Names of the sample texts.
  public var samples: [String]
  /// Length of the samples, in tokens; the largest if there were several.
  public var tokens: Int?
  /// Fingerprint of the weights that were searched.
  public var fingerprint: String?
  /// All lengths of the samples.
  public var lengths: [Int]
  /// Recall on the choosing samples, mean over heads and worst head.
  public var recall: RecallFigures?
  /// Recall on held-out texts.
  public var validation: RecallFigures?
  /// Highest output error of any head on the choosing samples; nil if none was measured.
  public var outputError: Double?
  /// Costs from the device's calibration; for planning on the same kind of device.
  public var costs: SparseCostModel?
  /// Figures of a search for a ``SearchFigures/goal``, promised and validated.
  public var search: SearchFigures?

  public init(
    model: String? = nil, device: String? = nil, samples: [String] = [], tokens: Int? = nil,
    fingerprint: String? = nil, lengths: [Int] = [], recall: RecallFigures? = nil,
    validation: RecallFigures? = nil, outputError: Double? = nil, costs: SparseCostModel? = nil
  ) {
    self.model = model
    self.device = device
    self.samples = samples
    self.tokens = tokens
    self.fingerprint = fingerprint
    self.lengths = lengths
    self.recall = recall
    self.validation = validation
    self.outputError = outputError
    self.costs = costs
  }
}

/// Recall over all heads in two numbers.
public struct RecallFigures: Sendable, Hashable {
  /// Mean over heads of the mean over rows.
  public var mean: Double
  /// The mean over rows of the worst head.
  public var worst: Double

  public init(mean: Double, worst: Double) {
    self.mean = mean
    self.worst = worst
  }
}

/// Measurements of one head under its pattern.
public struct HeadMeasurement: Sendable, Equatable {
  /// Share of the attention mass that the pattern keeps, 0 ... 1; in some older upstream files, a
  /// count of mismatches.
  public var recall: Double?
  /// Nine of ten sampled rows keep at least this share.
  public var tenthPercentile: Double?
  /// norm(o_sparse - o_dense) / norm(o_dense).
  public var outputError: Double?
  /// Time of estimation and attention kernel.
  public var milliseconds: Double?
  /// Computed pairs / causal pairs.
  public var density: Double?

  public init(
    recall: Double? = nil, tenthPercentile: Double? = nil, outputError: Double? = nil,
    milliseconds: Double? = nil, density: Double? = nil
  ) {
    self.recall = recall
    self.tenthPercentile = tenthPercentile
    self.outputError = outputError
    self.milliseconds = milliseconds
    self.density = density
  }
}
