import JSON

/// Reads the `model` of tokenizer.json: the settings first, then the vocabulary and the merges straight from
/// the bytes into their tables.
struct ModelReader {
  private var scanner: FileScanner
  private let isByteLevel: Bool

  /// - Parameter scanner: stands before the value of `model`, whose form has been checked.
  init(_ scanner: FileScanner, isByteLevel: Bool) {
    self.scanner = scanner
    self.isByteLevel = isByteLevel
  }

  mutating func read() throws(TokenizerError) -> TokenModel {
    var settings: [JSONValue.Member] = []
    var vocabularyRange: Range<Int>?
    var mergesRange: Range<Int>?
    var key: [UInt8] = []
    var isFirst = true
    try scanner.expect(UInt8(ascii: "{"))
    while try scanner.next(until: UInt8(ascii: "}"), &isFirst) {
      try scanner.readKey(into: &key)
      if key.elementsEqual("vocab".utf8) {
        vocabularyRange = try scanner.skipValue()
      } else if key.elementsEqual("merges".utf8) {
        mergesRange = try scanner.skipValue()
      } else {
        let name = String(decoding: key, as: UTF8.self)
        settings.append(.init(key: name, value: try scanner.readValue()))
      }
    }

    let node = JSONNode(value: .object(settings), path: "model", file: scanner.file)
    // Files of the first years have no type for BPE.
    let kind = node["type"].isPresent ? try node["type"].string() : "BPE"
    if kind == "Unigram" { return .unigram(try readUnigram(node, vocabularyRange)) }
    guard kind == "BPE" else {
      throw node.unsupported("is a tokenizer of kind \"\(kind)\"; known are BPE and Unigram")
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] where node[affix].isPresent {
      if try !node[affix].text().isEmpty { throw node[affix].unsupported("is not supported") }
    }
    // `dropout` is for training.
    guard let vocabularyRange else { throw node["vocab"].malformed("") }
    guard let mergesRange else { throw node["merges"].malformed("") }

    let vocabulary = try readVocabulary(vocabularyRange)
    let merges = try readMerges(mergesRange, vocabulary)
    var unknownID: UInt32?
    if node["unk_token"].isPresent {
      unknownID = vocabulary.id(spelled: try node["unk_token"].text())
      if unknownID == nil { throw node["unk_token"].inconsistent("is not in the vocabulary") }
    }
    return .bytePairs(
      BytePairEncoding(
        vocabulary: vocabulary, merges: merges,
        ignoresMerges: try node["ignore_merges"].bool(default: false), unknownID: unknownID,
        fusesUnknown: try node["fuse_unk"].bool(default: false),
        fallsBackToBytes: try node["byte_fallback"].bool(default: false)))
  }

  /// The vocabulary of Unigram is a list of pieces and scores; the ids are their places.
  private func readUnigram(
    _ node: JSONNode, _ range: Range<Int>?
  ) throws(TokenizerError) -> UnigramModel {
    guard let range else { throw node["vocab"].malformed("") }
    var scanner = FileScanner(scanner.bytes, file: scanner.file, position: range.lowerBound)
    var pieces: [(text: [UInt8], score: Double, id: UInt32)] = []
    var vocabulary = Vocabulary(
      isByteLevel: false, expectedCount: range.count / 32, expectedBytes: range.count / 2)
    var isFirst = true
    try scanner.expect(UInt8(ascii: "["))
    while try scanner.next(until: UInt8(ascii: "]"), &isFirst) {
      guard pieces.count <= Vocabulary.largestIdentifier else {
        throw scanner.malformed("model.vocab has more than \(Vocabulary.largestIdentifier) pieces")
      }
      guard case .array(let pair) = try scanner.readValue(), pair.count == 2,
        case .string(let piece) = pair[0], let score = pair[1].double
      else { throw scanner.malformed("model.vocab[\(pieces.count)] is not a piece and a score") }
      let id = UInt32(pieces.count)
      let text = Array(piece.utf8)
      pieces.append((text, score, id))
      vocabulary.insert(text, id: id)
    }
    guard !pieces.isEmpty else {
      throw node.inconsistent("is of kind Unigram and has no pieces in its vocab")
    }
    var unknownID: UInt32?
    if node["unk_id"].isPresent {
      unknownID = UInt32(try node["unk_id"].index(limit: Vocabulary.largestIdentifier))
      if Int(unknownID ?? 0) >= pieces.count {
        throw node["unk_id"].inconsistent("is not in the vocabulary")
      }
    }
    return try UnigramModel(
      pieces, vocabulary: vocabulary, unknownID: unknownID,
      fallsBackToBytes: try node["byte_fallback"].bool(default: false),
      usesSinglePrecision: false, file: scanner.file)
  }

  private func readVocabulary(_ range: Range<Int>) throws(TokenizerError) -> Vocabulary {
    var scanner = FileScanner(scanner.bytes, file: scanner.file, position: range.lowerBound)
    // Entries take about 16 bytes of JSON; the table grows if that was wrong.
    var vocabulary = Vocabulary(
      isByteLevel: isByteLevel, expectedCount: range.count / 24, expectedBytes: range.count / 2)
    var key: [UInt8] = []
    var isFirst = true
    try scanner.expect(UInt8(ascii: "{"))
    while try scanner.next(until: UInt8(ascii: "}"), &isFirst) {
      try scanner.readKey(into: &key)
      let id = try scanner.readIndex()
      guard id <= Vocabulary.largestIdentifier else {
        throw TokenizerError(
          .unsupported, scanner.file,
          "model.vocab has the id \(id), past the limit of \(Vocabulary.largestIdentifier)")
      }
      vocabulary.insert(key, id: UInt32(id))
    }
    return vocabulary
  }

  private func readMerges(
    _ range: Range<Int>, _ vocabulary: Vocabulary
  ) throws(TokenizerError) -> MergeTable {
    var scanner = FileScanner(scanner.bytes, file: scanner.file, position: range.lowerBound)
    var merges = MergeTable(expectedCount: range.count / 24)
    var left: [UInt8] = []
    var right: [UInt8] = []
    var isFirst = true
    try scanner.expect(UInt8(ascii: "["))
    while try scanner.next(until: UInt8(ascii: "]"), &isFirst) {
      let rank = merges.mergedIDs.count
      guard rank < MergeTable.largestCount else {
        throw scanner.malformed("more than \(MergeTable.largestCount) merges")
      }
      left.removeAll(keepingCapacity: true)
      right.removeAll(keepingCapacity: true)
      try readPair(&scanner, rank, &left, &right)
      try append(left, right, to: &merges, vocabulary, rank)
    }
    return merges
  }

  /// A merge is `["left", "right"]`, or the older `"left right"`.
  private func readPair(
    _ scanner: inout FileScanner, _ rank: Int, _ left: inout [UInt8], _ right: inout [UInt8]
  ) throws(TokenizerError) {
    if scanner.take(UInt8(ascii: "[")) {
      try scanner.readString(appendingTo: &left)
      try scanner.expect(UInt8(ascii: ","))
      try scanner.readString(appendingTo: &right)
      try scanner.expect(UInt8(ascii: "]"))
      return
    }
    try scanner.readString(appendingTo: &left)
    guard let blank = left.firstIndex(of: 0x20), !left[(blank + 1)...].contains(0x20) else {
      throw scanner.malformed("model.merges[\(rank)] is not two pieces with one blank between them")
    }
    right.append(contentsOf: left[(blank + 1)...])
    left.removeSubrange(blank...)
  }

  private func append(
    _ left: [UInt8], _ right: [UInt8], to merges: inout MergeTable, _ vocabulary: Vocabulary,
    _ rank: Int
  ) throws(TokenizerError) {
    func id(_ piece: [UInt8]) throws(TokenizerError) -> UInt32 {
      if let id = vocabulary.id(spelled: piece) { return id }
      let text = String(decoding: piece, as: UTF8.self)
      throw TokenizerError(
        .inconsistent, scanner.file,
        "model.merges[\(rank)] names \"\(text)\", which is not in model.vocab")
    }
    let ids = (try id(left), try id(right), try id(left + right))
    if vocabulary.isByteLevel, !vocabulary.isSpellable(left) || !vocabulary.isSpellable(right) {
      merges.skipRank()
    } else {
      merges.append(ids.0, ids.1, merged: ids.2)
    }
  }
}
