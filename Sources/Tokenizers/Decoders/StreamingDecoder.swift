/// Turns ids into text as they come, and never shows half a character.
///
/// What `push` and `finish` return, joined, is what `Tokenizer.decode` gives, but for one case: in a run of
/// byte pieces that is well-formed at first and not later, the characters shown already stay shown.
public struct StreamingDecoder {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  private var decoding: PieceDecoding
  /// Decoded bytes that do not yet make a character.
  private var pending: [UInt8] = []

  init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool, isEager: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
    decoding = PieceDecoding(tokenizer.decoder, isEager: isEager)
  }

  /// Takes the next id and returns the text that is now certain; often empty within a character.
  public mutating func push(_ id: Int32) -> String {
    pushBytes(id)
    return takeText(isEnd: false)
  }

  /// Returns what is still held back; incomplete characters become U+FFFD.
  public mutating func finish() -> String {
    decoding.finish(to: &pending)
    decoding = PieceDecoding(tokenizer.decoder, isEager: true)
    return takeText(isEnd: true)
  }

  /// Takes the next id without turning anything into text.
  mutating func pushBytes(_ id: Int32) {
    guard let piece = tokenizer.piece(of: id, skipSpecialTokens: skipSpecialTokens) else { return }
    decoding.push(piece, to: &pending)
  }

  /// All bytes so far and what the stages hold.
  mutating func finishBytes() -> [UInt8] {
    decoding.finish(to: &pending)
    defer { pending = [] }
    return pending
  }

  private mutating func takeText(isEnd: Bool) -> String {
    var certain = pending.count
    if !isEnd {
      // Only the last three bytes can belong to a character that is not complete.
      pending.withUnsafeBufferPointer { bytes in
        for start in stride(from: bytes.count - 1, through: max(0, bytes.count - 3), by: -1)
        where bytes[start] & 0xC0 != 0x80 {
          if case .truncated = UTF8Bytes.wellFormedLength(bytes, at: start) { certain = start }
          break
        }
      }
    }
    let text = String(decoding: pending[..<certain], as: UTF8.self)
    pending.removeFirst(certain)
    return text
  }
}
