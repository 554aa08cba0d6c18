/// A head to look at while a prompt is read: see ``AnswerRequest/observedHead``.
public struct ObservedHead: Sendable, Hashable {
  public var layer: Int
  /// The query head.
  public var head: Int
  /// Cells on a side of what is seen.
  public var cells: Int

  /// More cells than these are not made.
  public static let mostCells = 256

  public init(layer: Int, head: Int, cells: Int = 128) {
    self.layer = layer
    self.head = head
    self.cells = cells
  }
}

/// Why a head cannot be looked at; each description is one line that says what to do.
public enum ObservedHeadError: Error, Sendable, Equatable, CustomStringConvertible {
  case noLayer(Int, layers: Int)
  case noHead(Int, heads: Int)
  case cells(Int)
  /// The prompt is longer than a chunk of dual chunk attention, behind which a query has several positions.
  case dualChunk(tokens: Int, longest: Int)
  /// The layer is on a device of another process.
  case elsewhere(layer: Int)

  public var description: String {
    switch self {
    case .noLayer(let layer, let layers):
      "layer \(layer) is not among the model's \(layers) layers; give 0 to \(layers - 1)"
    case .noHead(let head, let heads):
      "head \(head) is not among the layer's \(heads) heads; give 0 to \(heads - 1)"
    case .cells(let cells):
      "\(cells) cells on a side are not made; give 1 to \(ObservedHead.mostCells)"
    case .dualChunk(let tokens, let longest):
      "the prompt has \(tokens) tokens, and this model's dual chunk attention can be looked at up to "
        + "\(longest); shorten the prompt"
    case .elsewhere(let layer):
      "layer \(layer) is in another process, where it cannot be looked at; serve the model in one process"
    }
  }
}

extension ObservedHead {
  /// Checks that a model can be looked at so with a prompt of so many tokens.
  func validate(for model: LanguageModel, tokens: Int) throws(ObservedHeadError) {
    let transformer = model.transformer
    guard (0..<transformer.layerCount).contains(layer) else {
      throw .noLayer(layer, layers: transformer.layerCount)
    }
    let heads = transformer.attentionShape(layer: layer).queryHeads
    guard (0..<heads).contains(head) else { throw .noHead(head, heads: heads) }
    guard (1...Self.mostCells).contains(cells) else { throw .cells(cells) }
    if let dualChunk = transformer.configuration.dualChunkAttention, tokens > dualChunk.stride {
      throw .dualChunk(tokens: tokens, longest: dualChunk.stride)
    }
    guard (try? transformer.part(holding: layer)) != nil else { throw .elsewhere(layer: layer) }
  }
}
