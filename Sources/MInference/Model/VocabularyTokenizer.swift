import Checkpoints
import JSON
public import Tokenizers

/// The tokenizer of the model at `path`, which needs no weights where it is a directory.
///
/// - Parameter path: A directory, a GGUF file, or the name of a model in Hugging Face's cache.
/// - Throws: `TokenizerError`, `CheckpointError`.
public func openTokenizer(at path: String) throws -> Tokenizer {
  let path = try HuggingFaceCache().path(ofModel: path)
  guard try holdsGGUF(path) else { return try Tokenizer(directory: path) }
  return try Tokenizer(try openWeightSource(at: path).tokenizerSource())
}

extension Tokenizer {
  /// The tokenizer of a model: read from its directory, or made of a GGUF file's vocabulary.
  convenience init(_ source: TokenizerSource) throws {
    switch source {
    case .directory(let directory): try self.init(directory: directory)
    case .vocabulary(let stored): try self.init(GGUFVocabulary(stored), file: stored.file)
    }
  }
}

extension GGUFVocabulary {
  /// - Throws: `CheckpointError.invalidField` for a kind of vocabulary that is not known.
  fileprivate init(_ stored: StoredVocabulary) throws {
    guard let kind = Kind(rawValue: stored.kind) else {
      let known = Kind.allCases.map(\.rawValue).joined(separator: " and ")
      throw CheckpointError.invalidField(
        file: stored.file, field: "tokenizer.ggml.model",
        problem: "is \"\(stored.kind.prefix(40))\": known are \(known)")
    }
    self.init(kind: kind, tokens: stored.tokens)
    types = stored.types.map { Int32(clamping: $0) }
    merges = stored.merges
    scores = stored.scores
    preTokenizer = stored.preTokenizer
    beginningOfTextID = stored.beginOfTextID
    endOfTextID = stored.endOfTextID
    unknownID = stored.unknownID
    paddingID = stored.paddingID
    addsBeginningOfText = stored.addsBeginningOfText
    addsEndOfText = stored.addsEndOfText
    addsSpacePrefix = stored.addsSpacePrefix
    chatTemplate = stored.chatTemplate
  }
}
