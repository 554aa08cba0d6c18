import TextReports
import MInference
import Checkpoints
import Transformers

/// A checkpoint in words: its family, its shape, what it takes, where its patterns are.
package struct ModelDescriptionText {
  private let description: ModelDescription
  private let directory: String
  private let patterns: PatternSource

  /// Opens the checkpoint; reads no weights.
  package init(directory: String, patterns: String? = nil) throws {
    let checkpoint = try openWeightSource(at: directory)
    description = try ModelDescription(checkpoint)
    self.directory = directory
    (self.patterns, _) = try PatternSource.find(
      given: patterns, directory: directory, configuration: checkpoint.configuration)
  }

  /// Lines that end in "\n".
  package var text: String {
    let lines = fields.map { name, value in Quantity.padRight(name, to: 12) + value + "\n" }
    return lines.joined() + "\n" + memoryTable.text
  }

  private var fields: [(String, String)] {
    let configuration = description.configuration
    let group = configuration.numAttentionHeads / configuration.numKeyValueHeads
    return [
      ("directory", directory),
      (
        "family",
        ([configuration.modelType] + configuration.architectures.prefix(1)).joined(separator: ", ")
      ),
      (
        "parameters",
        Quantity.grouped(description.parameters) + active + " in "
          + Quantity.bytes(description.weightBytes)
          + (configuration.storedType.map { " (\($0))" } ?? "")
      ),
      ("stored as", formats),
      ("context", Quantity.grouped(description.contextLength) + " tokens"),
      ("rope", rope),
      ("layers", "\(configuration.numHiddenLayers)" + window),
      ("experts", experts),
      (
        "heads",
        "\(configuration.numAttentionHeads) for queries, \(configuration.numKeyValueHeads) for keys "
          + "and values (groups of \(group)), \(configuration.headDimension) dimensions"
      ),
      (
        "vocabulary",
        Quantity.grouped(configuration.vocabularySize)
          + (configuration.tieWordEmbeddings ? ", output tied to the embedding" : "")
      ),
      (
        "KV cache",
        [("float32", 4), ("bfloat16", 2), ("float8", 1)].map { name, bytes in
          "\(Quantity.grouped(description.keyValueBytes(elementBytes: bytes))) bytes a token as \(name)"
        }.joined(separator: ", ")
      ),
      ("patterns", patterns.text),
    ].filter { !$0.1.isEmpty }
  }

  private var active: String {
    description.configuration.experts == nil
      ? "" : ", of which a token passes \(Quantity.grouped(description.activeParameters)),"
  }

  /// Empty for a model without.
  private var experts: String {
    guard let experts = description.configuration.experts else { return "" }
    let shared = experts.sharedCount.map { $0 > 0 ? " and \($0) shared" : "" } ?? ""
    return "\(experts.perToken) of \(experts.count)\(shared) for a token, in "
      + "\(description.expertLayers) layers"
  }

  /// The formats of tensors, the largest share first, and what a parameter takes on average.
  private var formats: String {
    let shares = description.formats.map { share in
      "\(share.tensors) tensors of \(share.name) (\(Quantity.bytes(share.bytes)))"
    }
    return shares.joined(separator: ", ")
      + "; \(Quantity.fixed(description.bitsPerParameter, 2)) bits per parameter"
  }

  private var window: String {
    guard description.slidingLayers > 0, let window = description.configuration.slidingWindow else {
      return ""
    }
    return ", \(description.slidingLayers) with a sliding window of \(Quantity.grouped(window))"
  }

  private var rope: String {
    let configuration = description.configuration
    var parts = ["theta \(Quantity.fixed(configuration.ropeTheta, 0))"]
    if description.turnedDimensions < configuration.headDimension {
      parts.append(
        "\(description.turnedDimensions) of \(configuration.headDimension) dimensions turn")
    }
    switch configuration.ropeScaling {
    case .none: break
    case .linear(let factor): parts.append("linear, factor \(factor)")
    case .dynamic(let factor): parts.append("dynamic, factor \(factor)")
    case .llama3(let llama3):
      parts.append(
        "llama3, factor \(llama3.factor) over "
          + Quantity.grouped(llama3.originalMaxPositionEmbeddings))
    case .yarn(let yarn):
      parts.append(
        "yarn, factor \(yarn.factor) over " + Quantity.grouped(yarn.originalMaxPositionEmbeddings))
    case .longRope(let longRope):
      parts.append(
        "longrope, long factors beyond "
          + Quantity.grouped(longRope.originalMaxPositionEmbeddings))
    case .divisors(let divisors):
      parts.append("each of \(divisors.count) frequencies divided by a number of its own")
    }
    if let dual = configuration.dualChunkAttention {
      parts.append("dual chunk attention, chunks of \(Quantity.grouped(dual.stride))")
    }
    return parts.joined(separator: "; ")
  }

  /// What a prompt takes as each device runs it unless told otherwise: weights, keys and values,
  /// activations of one chunk.
  private var memoryTable: TextTable {
    var table = TextTable(header: ["memory for a prompt of", "32K", "128K", "1M"])
    for (name, elementBytes) in [("cpu, float32 cache", 4), ("cuda, bfloat16 cache", 2)] {
      let cells = [32 << 10, 128 << 10, 1 << 20].map { tokens in
        // The answer needs room too: 1M stands for a context of a million and little more.
        guard min(tokens, 1_000_000) <= description.contextLength else { return "beyond context" }
        return Quantity.bytes(
          description.weightBytes
            + tokens * description.keyValueBytes(elementBytes: elementBytes)
            + description.activationBytes(
              tokens: tokens, rowBlock: 2048, elementBytes: elementBytes))
      }
      table.append([name] + cells)
    }
    return table
  }
}
