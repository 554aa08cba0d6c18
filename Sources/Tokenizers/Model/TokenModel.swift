/// The `model` of a tokenizer: turns pieces of text into ids.
enum TokenModel: Sendable {
  case bytePairs(BytePairEncoding)
  case unigram(UnigramModel)

  var vocabulary: Vocabulary {
    switch self {
    case .bytePairs(let model): model.vocabulary
    case .unigram(let model): model.vocabulary
    }
  }

  /// Appends the ids of every piece to the session's output.
  func encode(_ pieces: Pieces, _ session: EncodingSession) {
    switch self {
    case .bytePairs(let model): model.encode(pieces, session)
    case .unigram(let model): model.encode(pieces, session)
    }
  }
}
