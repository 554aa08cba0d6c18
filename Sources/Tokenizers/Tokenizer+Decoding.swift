extension Tokenizer {
  /// The text of ids. Ids that are not in the vocabulary give nothing; bytes that are not UTF-8 give U+FFFD.
  ///
  /// - Parameter skipSpecialTokens: whether control tokens are left out. They are told by id; Hugging Face,
  ///   which tells them by text, lets those through whose normalized text is another.
  public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = true) -> String {
    String(decoding: decodeBytes(ids, skipSpecialTokens: skipSpecialTokens), as: UTF8.self)
  }

  /// The text of ids as bytes, which need not be well-formed UTF-8 when ids break characters apart.
  public func decodeBytes(
    _ ids: some Sequence<Int32>, skipSpecialTokens: Bool = true
  ) -> [UInt8] {
    var decoding = StreamingDecoder(self, skipSpecialTokens: skipSpecialTokens, isEager: false)
    for id in ids { decoding.pushBytes(id) }
    return decoding.finishBytes()
  }

  /// A decoder that takes ids one by one.
  public func makeStreamingDecoder(skipSpecialTokens: Bool = true) -> StreamingDecoder {
    StreamingDecoder(self, skipSpecialTokens: skipSpecialTokens, isEager: true)
  }
}
