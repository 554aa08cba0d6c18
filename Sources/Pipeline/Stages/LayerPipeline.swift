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
  /// One device and its part of the model.
  public struct Stage: Sendable {
    public let transformer: Transformer
    /// The device, as messages call it: "cuda:1".
    public let device: String

    public init(transformer: Transformer, device: String) {
      self.transformer = transformer
      self.device = device
    }

    /// "cuda:1, layers 16..<32"
    public var name: String { "\(device), layers \(transformer.layers)" }
  }

  public let stages: [Stage]
  /// What the stages did and when; it records nothing until it is switched on.
  public let trace = PipelineTrace()
  /// What chunks cost, for their sizes.
  public let costs: PipelineCosts
  let workers: [StageWorker]
  /// From each stage to the next.
  private let links: [any TensorLink]

  /// - Parameters:
  ///   - stages: In the order of their layers; together a whole model.
  ///   - costs: nil for those of the model's sizes on an H200, or on a core of a processor.
  /// - Throws: ``PipelineError``; what a device says.
  public init(stages: [Stage], costs: PipelineCosts? = nil) throws {
    guard let first = stages.first, let last = stages.last, first.transformer.part.hasEmbedding,
      last.transformer.part.hasOutput,
      zip(stages, stages.dropFirst()).allSatisfy({
        $0.transformer.layers.upperBound == $1.transformer.layers.lowerBound
      }), last.transformer.layers.upperBound == first.transformer.layerCount
    else { throw TransformerError.missingPart(what: "all layers") }
    self.stages = stages
    self.costs =
      costs
      ?? PipelineCosts(
        PipelineShape(first.transformer),
        device: first.transformer.backend.capabilities.hasUnifiedMemory ? .core : .h200)
    workers = try stages.map { _ in try StageWorker() }
    links = try zip(stages, stages.dropFirst()).map { sender, receiver in
      let (sender, receiver) = (sender.transformer.backend, receiver.transformer.backend)
      return try (sender as? any LinkingBackend)?.makeLink(to: receiver)
        ?? HostLink(from: sender, to: receiver)
    }
  }

  /// A model that reads and decodes through this pipeline.
  public func makeTransformer() throws -> Transformer {
    guard let last = stages.last else { throw TransformerError.missingPart(what: "all layers") }
    return Transformer(head: last.transformer, distribution: self)
  }

  public var stageDescriptions: [String] {
    stages.indices.map { stage in
      "stage \(stage + 1) of \(stages.count): \(stages[stage].name)"
        + (stage < links.count ? ", hidden states by \(links[stage].name)" : "")
    }
  }

  public var notices: [String] {
    var notices: [String] = []
    for notice in stages.flatMap(\.transformer.backend.notices) where !notices.contains(notice) {
      notices.append(notice)
    }
    return notices
  }

  public func part(holding layer: Int) throws -> Transformer {
    guard let stage = stages.first(where: { $0.transformer.layers.contains(layer) }) else {
      throw TransformerError.missingPart(what: "layer \(layer)")
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
  func chunkEnds(of positions: Range<Int>, isSparse: Bool) -> [Int] {
    PipelineChunks(
      positions, stages: stages.count, layers: stages.map(\.transformer.layers.count).max() ?? 1,
      costs: costs, isSparse: isSparse,
      granule: stages[0].transformer.backend.capabilities.hasUnifiedMemory ? 128 : 1024
    ).ends
  }

  /// Sends hidden states to the next stage, on the sender's thread.
  func send(_ hidden: Tensor, from stage: Int, chunk: Int) throws -> Tensor {
    trace.beginCopy(stage: stage, chunk: chunk, bytes: hidden.byteCount)
    return try links[stage].send(hidden)
  }

  /// Gives the trace the seconds of the copies that a stage sent.
  func noteCopies(from stage: Int) throws {
    guard stage < links.count, trace.isOn else { return }
    trace.endCopies(stage: stage, seconds: try links[stage].copySeconds())
  }

  // MARK: Tokens

  public func hiddenState(of id: Int32, cache: KeyValueCache) throws -> Tensor {
    guard cache.parts.count == stages.count else {
      throw TransformerError.foreignCache(
        detail: "it has \(cache.parts.count) parts for \(stages.count) stages")
    }
    let count = cache.count
    cache.beginFilling(adding: 1)
    defer { cache.endFilling() }
    var hidden: Tensor?
    for stage in stages.indices {
      let transformer = stages[stage].transformer
      let input = hidden
      do {
        hidden = try workers[stage].run {
          let state = try input ?? transformer.embed(token: id)
          try transformer.pass(token: state, cache: cache.parts[stage])
          guard stage < links.count else { return state }
          return try links[stage].send(state)
        }
      } catch {
        throw PipelineError.stage(
          stage, of: stages.count, name: stages[stage].name, error: error)
      }
    }
    guard let hidden else { throw TransformerError.missingPart(what: "all layers") }
    cache.fill(to: count + 1)
    return hidden
  }
}
