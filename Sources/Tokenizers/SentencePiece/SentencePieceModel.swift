/// A SentencePiece `tokenizer.model`.
///
/// Source: sentencepiece, `src/sentencepiece_model.proto`.
struct SentencePieceModel {
  enum Kind: UInt64 { case unigram = 1, bytePairs, word, character }

  /// How a text is cut; unigram where the file does not say.
  private(set) var kind = Kind.unigram
  private(set) var pieces: [ScoredPiece] = []
  private(set) var normalizer = SentencePieceNormalizer()
  private(set) var fallsBackToBytes = false
  private(set) var beginningID = 1
  private(set) var endID = 2
  let path: String

  init(_ bytes: [UInt8], path: String) throws(TokenizerError) {
    self.path = path
    normalizer.escapesWhitespace = true
    var reader = ProtocolBufferReader(bytes, 0..<bytes.count, file: path)
    while let (field, value) = try reader.next() {
      guard case .bytes(let range) = value else { continue }
      switch field {
      case 1: pieces.append(try Self.piece(bytes, range, path))
      case 2: try readTrainer(bytes, range)
      case 3: try readNormalizer(bytes, range)
      default: break
      }
    }
    guard !pieces.isEmpty, pieces.count <= Vocabulary.largestIdentifier else {
      throw TokenizerError(.malformed, path, "has \(pieces.count) pieces: download it again")
    }
    guard pieces.contains(where: { $0.type == .unknown }) else {
      throw TokenizerError(.malformed, path, "has no unknown piece: download it again")
    }
  }

  private static func piece(
    _ bytes: [UInt8], _ range: Range<Int>, _ path: String
  ) throws(TokenizerError) -> ScoredPiece {
    var piece = ScoredPiece(text: [], score: 0, type: .normal)
    var reader = ProtocolBufferReader(bytes, range, file: path)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (1, .bytes(let text)): piece.text = Array(bytes[text])
      case (2, .bits32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .number(let type)):
        guard let known = ScoredPiece.Kind(rawValue: Int32(truncatingIfNeeded: type)) else {
          throw TokenizerError(.unsupported, path, "has a piece of type \(type)")
        }
        piece.type = known
      default: break
      }
    }
    return piece
  }

  private mutating func readTrainer(
    _ bytes: [UInt8], _ range: Range<Int>
  ) throws(TokenizerError) {
    var reader = ProtocolBufferReader(bytes, range, file: path)
    while let (field, value) = try reader.next() {
      guard case .number(let number) = value else { continue }
      switch field {
      case 3:
        guard let known = Kind(rawValue: number), known == .unigram || known == .bytePairs else {
          throw TokenizerError(
            .unsupported, path,
            "is a SentencePiece model of kind \(number); known are unigram and BPE")
        }
        kind = known
      case 24: normalizer.treatsWhitespaceAsSuffix = number != 0
      case 35: fallsBackToBytes = number != 0
      // Ids that do not exist are -1, which is ten bytes long.
      case 41: beginningID = Int(Int64(bitPattern: number))
      case 42: endID = Int(Int64(bitPattern: number))
      default: break
      }
    }
  }

  private mutating func readNormalizer(
    _ bytes: [UInt8], _ range: Range<Int>
  ) throws(TokenizerError) {
    var reader = ProtocolBufferReader(bytes, range, file: path)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (2, .bytes(let blob)) where !blob.isEmpty:
        normalizer.map = try CharacterMap(Array(bytes[blob]), file: path)
      case (3, .number(let number)): normalizer.addsDummyPrefix = number != 0
      case (4, .number(let number)): normalizer.removesExtraWhitespace = number != 0
      case (5, .number(let number)): normalizer.escapesWhitespace = number != 0
      default: break
      }
    }
  }
}

/// A piece with its score, as SentencePiece and GGUF have them.
struct ScoredPiece {
  /// The numbers of both formats.
  enum Kind: Int32 { case normal = 1, unknown, control, userDefined, unused, byte }

  var text: [UInt8]
  var score: Float
  var type: Kind
}
