public import Compute
import SparseAttention
public import Transformers

/// A model whose layers are spread over several devices: each stage holds a range of layers, their weights
/// and their keys and values, and only hidden states cross from one to the next.
///
/// A prompt is cut into chunks. Chunk c passes through stage s as soon as it has left stage s - 1, so all
/// stages are at work but for the beginning and the end. Heads and indices stay whole: results are those
/// of one device that reads the same chunks, bit for bit.
public final class LayerPipeline: LayerDistribution {
  /// What the stages did and when; it records nothing until it is switched on.
  public let trace = PipelineTrace()
  /// What chunks cost, for their sizes.
  public let costs: PipelineCosts
  /// What the layers were spread by; nil where their numbers were given.
  public let measured: MeasuredLayers?
  let stages: [any StageRunner]
  let workers: [StageWorker]
  /// The first stage.
  let first: LocalStage
  /// Where logits are made.
  private let head: Transformer
  /// The processes of the other stages; nil: all are in this one.
  let group: ProcessGroup?

  /// - Parameters:
  ///   - stages: In the order of their layers; together a whole model. The first is in this process.
  ///   - head: A part with the output layer, where the last stage's hidden states arrive.
  ///   - measured: What a layer takes on each device. nil: costs of chunks are those of the model's sizes on an
  ///     H200, or on a core of a processor.
  /// - Throws: ``PipelineError``; what a device says.
  init(
    stages: [any StageRunner], head: Transformer, group: ProcessGroup? = nil,
    measured: MeasuredLayers? = nil
  ) throws {
    guard let first = stages.first as? LocalStage, let last = stages.last,
      first.transformer.part.hasEmbedding, head.part.hasOutput,
      zip(stages, stages.dropFirst()).allSatisfy({
        $0.layers.upperBound == $1.layers.lowerBound
      }), last.layers.upperBound == head.layerCount
    else { throw TransformerError.missingPart(what: "all layers") }
    self.stages = stages
    self.first = first
    self.head = head
    self.group = group
    self.measured = measured
    let shape = PipelineShape(head)
    let device =
      head.backend.capabilities.hasUnifiedMemory ? PipelineCosts.Device.core : .h200
    costs =
      measured.map { PipelineCosts(shape, measured: $0, scaling: device) }
      ?? PipelineCosts(shape, device: device)
    workers = try stages.map { _ in try StageWorker() }
  }

  /// Stages that are all on devices of this process.
  ///
  /// - Parameter parts: In the order of their layers, each with its device's name.
  convenience init(
    parts: [(transformer: Transformer, device: String)], measured: MeasuredLayers? = nil
  ) throws {
    guard let last = parts.last else { throw TransformerError.missingPart(what: "all layers") }
    let stages = try parts.indices.map { number in
      let (transformer, device) = parts[number]
      var outlet: StageOutlet?
      if number + 1 < parts.count {
        let (sender, receiver) = (transformer.backend, parts[number + 1].transformer.backend)
        outlet = .link(
          try (sender as? any LinkingBackend)?.makeLink(to: receiver)
            ?? HostLink(from: sender, to: receiver))
      }
      return LocalStage(
        transformer, name: "\(device), layers \(transformer.layers)", outlet: outlet)
    }
    try self.init(stages: stages, head: last.transformer, measured: measured)
  }

  deinit { group?.end() }

  /// A model that reads and decodes through this pipeline.
  public func makeTransformer() -> Transformer {
    Transformer(head: head, distribution: self)
  }

  /// What each stage is: "cuda:1, layers 16..<32".
  public var stageNames: [String] { stages.map(\.name) }

  /// The layers of each stage.
  public var stageLayers: [Range<Int>] { stages.map(\.layers) }

  public var stageDescriptions: [String] {
    stages.enumerated().map { number, stage in
      "stage \(number + 1) of \(stages.count): \(stage.name)"
        + (measured.map { ", \($0.description(ofDevice: number))" } ?? "")
        + (stage.outletName.map { ", hidden states by \($0)" } ?? "")
    }
  }

  public var notices: [String] {
    var notices: [String] = []
    for notice in stages.flatMap(\.notices) where !notices.contains(notice) {
      notices.append(notice)
    }
    if let measured {
      notices.append(
        "layers are spread by measured time: "
          + stages.enumerated().map { "\($1.name): \(measured.description(ofDevice: $0))" }
          .joined(separator: "; "))
    }
    return notices + [
      "each chunk of sparse attention takes the share of count budgets that it sees of the prompt"
    ]
  }

  public func part(holding layer: Int) throws -> Transformer {
    guard let stage = stages.first(where: { $0.layers.contains(layer) }) else {
      throw TransformerError.missingPart(what: "layer \(layer)")
    }
    guard let stage = stage as? LocalStage else {
      throw PipelineError.oneProcess(what: "looking at single layers")
    }
    return stage.transformer
  }

  // MARK: Prompts

  public func makeReading(
    _ ids: [Int32], cache: KeyValueCache, options: PrefillOptions, wantsAllRows: Bool
  ) throws -> any PromptReading {
    try PipelineReading(
      self, ids: ids, cache: cache, options: options, wantsAllRows: wantsAllRows)
  }

  /// Where chunks of a prompt end that take about equal time and fill the stages.
  ///
  /// - Parameter lastRowOnly: Whether the output of the prompt's last row alone is wanted.
  func chunkEnds(of positions: Range<Int>, isSparse: Bool, lastRowOnly: Bool) -> [Int] {
    PipelineChunks(
      positions,
      stages: PipelineSimulation.Stages(
        layers: stages.map(\.layers.count), slowness: measured?.slowness, lastRowOnly: lastRowOnly),
      costs: costs, isSparse: isSparse,
      granule: head.backend.capabilities.hasUnifiedMemory ? 128 : 1024
    ).ends
  }

  /// Gives the trace the seconds of the copies that a stage sent.
  func noteCopies(from stage: Int) throws {
    guard trace.isOn, case .link(let link)? = (stages[stage] as? LocalStage)?.outlet else { return }
    trace.endCopies(stage: stage, seconds: try link.copySeconds())
  }

  // MARK: Tokens

  public func hiddenStates(of ids: [Int32], caches: [KeyValueCache]) throws -> [Tensor] {
    precondition(ids.count == caches.count)
    for cache in caches { try requireParts(of: cache) }
    let counts = caches.map(\.count)
    for cache in caches { cache.beginFilling(adding: 1) }
    defer { for cache in caches { cache.endFilling() } }
    let hidden = try TokenPassage(self, ids: ids, caches: caches).run()
    for (cache, count) in zip(caches, counts) { cache.fill(to: count + 1) }
    return hidden
  }

  func requireParts(of cache: KeyValueCache) throws {
    guard cache.parts.count == stages.count else {
      throw TransformerError.foreignCache(
        detail: "it has \(cache.parts.count) parts for \(stages.count) stages")
    }
  }
}
