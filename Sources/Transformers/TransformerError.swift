public import Compute
import JSON
import TextReports

/// What loading or running a model can fail with, beside ``Checkpoints`` and ``Compute`` errors; each
/// description is one line that says what to do.
public enum TransformerError: Error, Equatable, Sendable {
  /// No family has this `model_type`.
  case unknownArchitecture(directory: String, found: String, known: [String])
  /// A field of config.json asks for something that the family does not have.
  case unsupported(directory: String, field: String, problem: String)
  /// A weight is NaN or infinite.
  case nonFiniteWeight(file: String, tensor: String, index: Int, value: Float)
  /// There are no tokens to work on.
  case emptyPrompt
  /// More tokens than the model has positions.
  case contextExceeded(tokens: Int, contextLength: Int)
  /// More tokens than the cache has room for.
  case cacheFull(tokens: Int, capacity: Int)
  /// A cache that was made for another model or backend.
  case foreignCache(detail: String)
  /// A cache that a prefill which has not ended is filling, or that another has changed meanwhile.
  case cacheInUse
  /// Hidden states that a range of layers cannot go on from.
  case hiddenStates(problem: String)
  /// Something that is asked of a part of a model, and that the part does not have.
  case missingPart(what: String)
  /// A token id that the model does not have.
  case idOutOfRange(index: Int, id: Int32, vocabularySize: Int)
  /// Logits that cannot be sampled from.
  case invalidLogits(problem: String)
  /// A sequence that a device's memory cannot hold, however it is arranged.
  case doesNotFit(tokens: Int, longest: Int, detail: String)
  /// An option that is not a sensible number.
  case invalidOption(name: String, value: String, allowed: String)
}

extension TransformerError: RemediedError {
  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .unknownArchitecture(let directory, let found, let known):
      "\(configurationFile(of: directory)): model_type is \(quoted(found)): known are "
        + known.joined(separator: ", ")
    case .unsupported(let directory, let field, let problem):
      "\(configurationFile(of: directory)): \(printable(field)) \(printable(problem))"
    case .nonFiniteWeight(let file, let tensor, let index, let value):
      "\(printable(file)): tensor \(quoted(tensor)) holds \(value) at element \(index): the weights are damaged, "
        + "download or convert them again"
    case .emptyPrompt:
      "the prompt has no tokens: give it some text"
    case .contextExceeded(let tokens, let contextLength):
      "\(Quantity.grouped(tokens)) tokens are more than the model's context of "
        + "\(Quantity.grouped(contextLength)): shorten the prompt "
        + "or ask for fewer new tokens"
    case .cacheFull(let tokens, let capacity):
      "\(Quantity.grouped(tokens)) tokens do not fit the key-value cache of "
        + "\(Quantity.grouped(capacity)): make it larger"
    case .foreignCache(let detail):
      "the key-value cache belongs to another model: \(detail)"
    case .cacheInUse:
      "the key-value cache is being filled by a prefill that has not ended: finish or drop it first"
    case .hiddenStates(let problem):
      "the hidden states of a chunk \(problem): give those of the layer before"
    case .missingPart(let what):
      "this part of the model does not have \(what): ask the whole model"
    case .idOutOfRange(let index, let id, let vocabularySize):
      "token \(Quantity.grouped(index)) is id \(id), outside 0 ..< \(vocabularySize): use this model's "
        + "tokenizer"
    case .invalidLogits(let problem):
      "the logits \(problem): the weights or the prompt overflow this number format"
    case .doesNotFit(let tokens, let longest, let detail):
      "\(Quantity.grouped(tokens)) tokens do not fit: \(detail); the longest that fits is "
        + "\(Quantity.grouped(longest)) tokens: "
        + Remedy(use: .shorterPrompt, .smallerChunk, .float8KeyValues, .keyValuesOnHost)
        .text(naming: setting)
    case .invalidOption(let name, let value, let allowed):
      "\(name) is \(value): it should be \(allowed)"
    }
  }
}

/// A GGUF file states its model's shape itself.
private func configurationFile(of model: String) -> String {
  printable(model.lowercased().hasSuffix(".gguf") ? model : model + "/config.json")
}
