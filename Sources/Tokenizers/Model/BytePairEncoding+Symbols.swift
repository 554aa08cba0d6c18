/// The symbols that merging starts from: the bytes or characters of a piece, and what stands for unknown ones.
extension BytePairEncoding {
  /// One symbol a byte.
  func appendByteSymbols(of piece: UnsafeBufferPointer<UInt8>, to symbols: inout [UInt32]) {
    var unknown = PendingUnknown()
    for byte in piece {
      let id = byteIDs[Int(byte)]
      if id != Self.none {
        unknown.flush(to: &symbols)
        symbols.append(id)
      } else {
        appendUnknown(ByteAlphabet.encode(CollectionOfOne(byte)), &unknown, to: &symbols)
      }
    }
    unknown.flush(to: &symbols)
  }

  /// One symbol a character.
  func appendCharacterSymbols(of piece: UnsafeBufferPointer<UInt8>, to symbols: inout [UInt32]) {
    var unknown = PendingUnknown()
    var position = 0
    while position < piece.count {
      let length = UTF8Bytes.length(lead: piece[position])
      let character = UnsafeBufferPointer(rebasing: piece[position..<position + length])
      let id = length == 1 ? byteIDs[Int(character[0])] : vocabulary.id(of: character) ?? Self.none
      if id != Self.none {
        unknown.flush(to: &symbols)
        symbols.append(id)
      } else {
        appendUnknown(character, &unknown, to: &symbols)
      }
      position += length
    }
    unknown.flush(to: &symbols)
  }

  /// An unknown id that following unknown characters may still join.
  private struct PendingUnknown {
    var id = BytePairEncoding.none

    mutating func flush(to symbols: inout [UInt32]) {
      if id != BytePairEncoding.none {
        symbols.append(id)
        id = BytePairEncoding.none
      }
    }
  }

  /// A character that is not in the vocabulary: its bytes if there is an id for each, else unknown.
  private func appendUnknown(
    _ character: some Collection<UInt8>, _ unknown: inout PendingUnknown,
    to symbols: inout [UInt32]
  ) {
    if let fallbackIDs, character.allSatisfy({ fallbackIDs[Int($0)] != Self.none }) {
      // A pending unknown id stays pending, and so comes after these: that is how Hugging Face does it.
      for byte in character { symbols.append(fallbackIDs[Int(byte)]) }
      return
    }
    guard unknownID != Self.none else { return }
    if unknown.id != Self.none && fusesUnknown { return }
    unknown.flush(to: &symbols)
    unknown.id = unknownID
  }
}
