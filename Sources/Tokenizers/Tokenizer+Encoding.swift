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
  ///   - memory: texts with which this one may begin; it is remembered there too.
  public func encode(
    _ text: String, specialTokens: SpecialTokenPolicy = .recognise, addTemplate: Bool = true,
    memory: EncodingMemory? = nil
  ) -> [Int32] {
    var text = text
    return text.withUTF8 {
      encode($0, specialTokens: specialTokens, addTemplate: addTemplate, memory: memory)
    }
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
  ///
  /// - Parameter memory: texts with which this one may begin; it is remembered there too.
  public func encode(
    _ segments: [TextSegment], addTemplate: Bool = false, memory: EncodingMemory? = nil
  ) -> [Int32] {
    var bytes: [UInt8] = []
    var plain: [Range<Int>] = []
    for segment in segments {
      let start = bytes.count
      bytes += segment.text.utf8
      if segment.specialTokens == .asText, start < bytes.count { plain.append(start..<bytes.count) }
    }
    return bytes.withUnsafeBufferPointer {
      encode($0, plain: plain, addTemplate: addTemplate, memory: memory)
    }
  }

  private func encode(
    _ text: UnsafeBufferPointer<UInt8>, specialTokens: SpecialTokenPolicy, addTemplate: Bool,
    memory: EncodingMemory? = nil
  ) -> [Int32] {
    let plain = specialTokens == .asText && !text.isEmpty ? [0..<text.count] : []
    return encode(text, plain: plain, addTemplate: addTemplate, memory: memory)
  }

  /// The pipeline; `text` is well formed, `plain` ascends.
  private func encode(
    _ text: UnsafeBufferPointer<UInt8>, plain: [Range<Int>], addTemplate: Bool,
    memory: EncodingMemory?
  ) -> [Int32] {
    let segments = matcher.segments(of: text, plain: plain)
    let memory = memory.flatMap { text.count >= $0.leastBytes && resumesEncoding ? $0 : nil }
    let found = memory?.find(text, by: self, addsTemplate: addTemplate, segments)
    let start = found?.mark.offset ?? 0
    let session = EncodingSession(textLength: text.count - start)
    session.marks = memory.map { PieceMarks(spacing: $0.spacing, from: start) }
    if let (known, mark) = found {
      session.output.append(contentsOf: known.ids[..<mark.count])
    } else if addTemplate {
      session.output.append(contentsOf: postProcessor.prefix)
    }
    encode(
      // An added token may reach over the blanks behind it, into the next stretch.
      segments.filter {
        $0.id == nil ? $0.range.upperBound > start : $0.range.lowerBound >= start
      }.map {
        AddedTokenMatcher.Segment(
          range: max(start, $0.range.lowerBound)..<$0.range.upperBound, id: $0.id)
      }, of: text, plain: plain, session)
    if addTemplate { session.output.append(contentsOf: postProcessor.suffix) }
    let ids = session.output.array
    if let memory, let marks = session.marks?.marks {
      let before = found.map { found in found.known.marks.prefix { $0.offset <= start } } ?? []
      memory.remember(
        EncodingMemory.Known(
          text: Array(text), tokenizer: self, addsTemplate: addTemplate, segments: segments,
          ids: ids, marks: before + marks),
        insteadOf: start > (found?.known.text.count ?? 0) / 8 * 7 ? found?.known : nil)
    }
    return ids
  }

  /// Whether encoding can go on in the middle of a text: pieces begin where a known pattern says, which looks a few bytes
  /// beyond white space, and what is done to the text before and behind keeps to the pieces.
  var resumesEncoding: Bool {
    guard normalizedMatcher.isEmpty, preTokenizer?.cutsByKnownPattern == true else { return false }
    switch normalizer {
    case nil, .unicode(.nfc): return true
    default: return false
    }
  }

  private func encode(
    _ segments: [AddedTokenMatcher.Segment], of text: UnsafeBufferPointer<UInt8>,
    plain: [Range<Int>], _ session: EncodingSession
  ) {
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
  }

  /// A stretch without tokens that are looked for in the text as given.
  private func encodeOrdinary(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ stretch: TextStretch,
    plain: [Range<Int>], _ session: EncodingSession
  ) {
    var normalized = Array(text[range])
    normalizer?.apply(to: &normalized, stretch)
    let beginsText = range.lowerBound == 0
    if session.marks != nil, normalized.elementsEqual(text[range]) {
      return encodePieces(Pieces(normalized, beginsText: beginsText), session, at: range.lowerBound)
    }
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

  /// Encodes pieces that stand in the text from `start` on as they are, and marks where encoding can go on.
  private func encodePieces(_ pieces: Pieces, _ session: EncodingSession, at start: Int) {
    var pieces = pieces
    preTokenizer?.apply(to: &pieces)
    var begin = 0
    while begin < pieces.ends.count {
      let first = begin == 0 ? 0 : pieces.ends[begin - 1]
      session.marks?.add(first, of: pieces.bytes, at: start, ids: session.output.count)
      let spacing = session.marks?.spacing ?? .max
      var end = begin + 1
      while end < pieces.ends.count, pieces.ends[end - 1] - first < spacing { end += 1 }
      model.encode(pieces[begin..<end], session)
      begin = end
    }
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
