/// Whether control tokens that are spelled out in a text count as such.
public enum SpecialTokenPolicy: Sendable {
  /// `<|im_end|>` in the text becomes its id, as in Hugging Face's tokenizers.
  case recognise
  /// It stays text. Added tokens that are not marked special are found all the same.
  case asText
}

/// A stretch of a text with its own policy.
public struct TextSegment: Sendable, Equatable {
  /// The text.
  public var text: String
  /// What its control tokens are.
  public var specialTokens: SpecialTokenPolicy

  public init(_ text: String, specialTokens: SpecialTokenPolicy) {
    self.text = text
    self.specialTokens = specialTokens
  }
}

extension Tokenizer {
  /// The ids of a text.
  ///
  /// - Parameters:
  ///   - specialTokens: whether control tokens in the text count.
  ///   - addTemplate: whether the tokenizer's own beginning and end (such as a BOS token) are added.
  public func encode(
    _ text: String, specialTokens: SpecialTokenPolicy = .recognise, addTemplate: Bool = true
  ) -> [Int32] {
    var text = text
    return text.withUTF8 { encode($0, specialTokens: specialTokens, addTemplate: addTemplate) }
  }

  /// The ids of a text given as UTF-8.
  ///
  /// - Parameter name: the text's name in an error.
  /// - Throws: `.invalidText` naming the offset of the first byte that is not UTF-8.
  public func encode(
    bytes: [UInt8], named name: String = "text", specialTokens: SpecialTokenPolicy = .recognise,
    addTemplate: Bool = true
  ) throws(TokenizerError) -> [Int32] {
    try bytes.withUnsafeBufferPointer { bytes throws(TokenizerError) in
      if let offset = UTF8Bytes.firstInvalidOffset(bytes) {
        throw TokenizerError(
          .invalidText, name, "not UTF-8 at byte \(offset); convert the text to UTF-8")
      }
      return encode(bytes, specialTokens: specialTokens, addTemplate: addTemplate)
    }
  }

  /// The ids of stretches of text that belong together, each with its own policy.
  ///
  /// The text is tokenized as a whole, so merges reach across the borders; but a control token counts only
  /// if all of it stands in stretches that recognise them.
  public func encode(_ segments: [TextSegment], addTemplate: Bool = false) -> [Int32] {
    var bytes: [UInt8] = []
    var plain: [Range<Int>] = []
    for segment in segments {
      let start = bytes.count
      bytes += segment.text.utf8
      if segment.specialTokens == .asText, start < bytes.count { plain.append(start..<bytes.count) }
    }
    return bytes.withUnsafeBufferPointer { encode($0, plain: plain, addTemplate: addTemplate) }
  }

  private func encode(
    _ text: UnsafeBufferPointer<UInt8>, specialTokens: SpecialTokenPolicy, addTemplate: Bool
  ) -> [Int32] {
    let plain = specialTokens == .asText && !text.isEmpty ? [0..<text.count] : []
    return encode(text, plain: plain, addTemplate: addTemplate)
  }

  /// The pipeline; `text` is well formed, `plain` ascends.
  private func encode(
    _ text: UnsafeBufferPointer<UInt8>, plain: [Range<Int>], addTemplate: Bool
  ) -> [Int32] {
    let session = EncodingSession(textLength: text.count)
    if addTemplate {
      postProcessor.prefix.forEach { session.output.append(UInt32(bitPattern: $0)) }
    }
    let segments = matcher.segments(of: text, plain: plain)
    func isControl(_ index: Int) -> Bool {
      segments[index].id.map { addedTokens[$0]?.special ?? false } ?? false
    }
    for (index, segment) in segments.enumerated() {
      let isFirst = index == 0 || isControl(index - 1)
      if let id = segment.id {
        if isFirst, !isControl(index), let blank = normalizer?.leadingBlank {
          encodePieces(Pieces(blank, beginsText: index == 0), session)
        }
        session.output.append(id)
      } else {
        let isLast = index + 1 == segments.count || isControl(index + 1)
        encodeOrdinary(
          text, segment.range, TextStretch(isFirst: isFirst, isLast: isLast), plain: plain,
          session)
      }
    }
    if addTemplate {
      postProcessor.suffix.forEach { session.output.append(UInt32(bitPattern: $0)) }
    }
    return session.output.array
  }

  /// A stretch without tokens that are looked for in the text as given.
  private func encodeOrdinary(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ stretch: TextStretch,
    plain: [Range<Int>], _ session: EncodingSession
  ) {
    var normalized = Array(text[range])
    normalizer?.apply(to: &normalized, stretch)
    let beginsText = range.lowerBound == 0
    guard !normalizedMatcher.isEmpty else {
      return encodePieces(Pieces(normalized, beginsText: beginsText), session)
    }

    let plain = plain.isEmpty ? [] : normalizedRanges(of: plain, in: text, range)
    let segments = normalized.withUnsafeBufferPointer {
      normalizedMatcher.segments(of: $0, plain: plain)
    }
    for segment in segments {
      if let id = segment.id {
        session.output.append(id)
      } else {
        encodePieces(
          Pieces(
            Array(normalized[segment.range]),
            beginsText: beginsText && segment.range.lowerBound == 0),
          session)
      }
    }
  }

  private func encodePieces(_ pieces: Pieces, _ session: EncodingSession) {
    var pieces = pieces
    preTokenizer?.apply(to: &pieces)
    model.encode(pieces, session)
  }

  /// Where ranges of the text lie within a normalized stretch of it: each border is as far in as the text
  /// before it is long when normalized.
  private func normalizedRanges(
    of ranges: [Range<Int>], in text: UnsafeBufferPointer<UInt8>, _ stretch: Range<Int>
  ) -> [Range<Int>] {
    func position(_ border: Int) -> Int {
      guard border > stretch.lowerBound else { return 0 }
      var before = Array(text[stretch.lowerBound..<min(border, stretch.upperBound)])
      normalizer?.apply(to: &before)
      return before.count
    }
    return ranges.filter { $0.overlaps(stretch) }.map {
      position($0.lowerBound)..<position($0.upperBound)
    }
  }
}
