/// The pieces of a model and their ids: one blob of bytes and an open-addressing table over it.
///
/// Keys are bytes, so pieces that are canonically equivalent stay different. Of a byte-level vocabulary the
/// blob holds the bytes that pieces stand for, not their spelling in the byte alphabet.
struct Vocabulary: Sendable {
  /// The largest id that is accepted: pairs of ids are packed into 40 bits.
  static let largestIdentifier = 1 << 20 - 2

  private var blob: [UInt8] = []
  /// By entry: start, length and id of a piece.
  private var entries: [(start: UInt32, length: UInt32, id: UInt32)] = []
  /// Entry + 1, or 0 for a free slot; the count is a power of two, at most half of it taken.
  private var slots: [UInt32] = []
  /// By id: entry + 1, or 0 for none.
  private var entryOfID: [UInt32] = []
  /// Random, so that no file can be made whose pieces collide.
  private let hash = PieceHash()
  /// Whether `blob` holds bytes for pieces spelled in the byte alphabet.
  let isByteLevel: Bool
  /// Pieces that are not spelled in the byte alphabet, which no text can give.
  private var unspellable: [[UInt8]: UInt32] = [:]
  private var unspellableTexts: [UInt32: [UInt8]] = [:]

  init(isByteLevel: Bool, expectedCount: Int, expectedBytes: Int) {
    self.isByteLevel = isByteLevel
    blob.reserveCapacity(expectedBytes)
    entries.reserveCapacity(expectedCount)
    entryOfID.reserveCapacity(expectedCount)
    slots = [UInt32](repeating: 0, count: Self.capacity(for: expectedCount))
  }

  private static func capacity(for count: Int) -> Int {
    var capacity = 64
    while capacity < count * 2 { capacity *= 2 }
    return capacity
  }

  /// One more than the largest id, or 0.
  var identifierLimit: Int {
    max(entryOfID.count, unspellableTexts.keys.max().map { Int($0) + 1 } ?? 0)
  }

  /// The length of the longest piece, in bytes.
  var longestPiece: Int { Int(entries.map(\.length).max() ?? 0) }

  /// Adds a piece as tokenizer.json spells it; a repeated one gets the new id.
  mutating func insert(_ text: [UInt8], id: UInt32) {
    let start = blob.count
    if isByteLevel {
      guard ByteAlphabet.decode(text, appendingTo: &blob) else {
        unspellable[text] = id
        unspellableTexts[id] = text
        return
      }
    } else {
      blob.append(contentsOf: text)
    }
    let length = blob.count - start
    let slot = blob.withUnsafeBufferPointer { blob in
      self.slot(of: UnsafeBufferPointer(rebasing: blob[start...]))
    }
    let entry: UInt32
    if slots[slot] != 0 {
      entry = slots[slot]
      blob.removeSubrange(start...)
      entries[Int(entry) - 1].id = id
    } else {
      entries.append((UInt32(start), UInt32(length), id))
      entry = UInt32(entries.count)
      slots[slot] = entry
    }
    while entryOfID.count <= Int(id) { entryOfID.append(0) }
    entryOfID[Int(id)] = entry
    if entries.count * 2 > slots.count { grow() }
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for (index, entry) in entries.enumerated() {
      let slot = withPiece(entry) { self.slot(of: $0) }
      slots[slot] = UInt32(index + 1)
    }
  }

  private func withPiece<Result>(
    _ entry: (start: UInt32, length: UInt32, id: UInt32),
    _ body: (UnsafeBufferPointer<UInt8>) -> Result
  ) -> Result {
    blob.withUnsafeBufferPointer { blob in
      body(
        UnsafeBufferPointer(
          rebasing: blob[Int(entry.start)..<Int(entry.start) + Int(entry.length)]))
    }
  }

  /// Where the piece is, or the free slot where it would be.
  private func slot(of piece: UnsafeBufferPointer<UInt8>) -> Int {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash.of(piece) >> 20) & mask
    return blob.withUnsafeBufferPointer { blob in
      while true {
        let entry = slots[slot]
        if entry == 0 { return slot }
        let (start, length, _) = entries[Int(entry) - 1]
        if Int(length) == piece.count {
          let known = UnsafeBufferPointer(rebasing: blob[Int(start)..<Int(start) + Int(length)])
          if known.elementsEqual(piece) { return slot }
        }
        slot = (slot + 1) & mask
      }
    }
  }

  /// The id of a piece given as bytes of the blob's form.
  func id(of piece: UnsafeBufferPointer<UInt8>) -> UInt32? {
    let entry = slots[slot(of: piece)]
    return entry == 0 ? nil : entries[Int(entry) - 1].id
  }

  /// The id of a piece as tokenizer.json spells it.
  func id(spelled text: [UInt8]) -> UInt32? {
    guard isByteLevel else { return text.withUnsafeBufferPointer(id(of:)) }
    var bytes: [UInt8] = []
    if ByteAlphabet.decode(text, appendingTo: &bytes) {
      return bytes.withUnsafeBufferPointer(id(of:))
    }
    return unspellable[text]
  }

  /// Whether a piece of a byte-level vocabulary stands for bytes, so that a text can give it.
  func isSpellable(_ text: [UInt8]) -> Bool {
    unspellable.isEmpty || unspellable[text] == nil
  }

  /// A piece as tokenizer.json spells it.
  func text(of id: UInt32) -> [UInt8]? {
    guard Int(id) < entryOfID.count, entryOfID[Int(id)] != 0 else { return unspellableTexts[id] }
    return withPiece(entries[Int(entryOfID[Int(id)]) - 1]) { piece in
      isByteLevel ? ByteAlphabet.encode(piece) : Array(piece)
    }
  }

  /// Runs `body` with every piece in the blob's form.
  func forEachPiece(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    for entry in entries { withPiece(entry, body) }
  }
}

/// A hash of byte strings that nobody who makes a file can know.
struct PieceHash: Sendable {
  private let seed = UInt64.random(in: .min ... .max)
  private let factor = UInt64.random(in: .min ... .max) | 1 << 63 | 1

  /// Eight bytes at a time; the low bits are weak, so use the high ones.
  func of(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash = seed ^ UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
    var position = 0
    while position + 8 <= bytes.count {
      let word = UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped + position)
        .loadUnaligned(as: UInt64.self)
      hash = mix(hash ^ word)
      position += 8
    }
    var tail: UInt64 = 0
    while position < bytes.count {
      tail = tail << 8 | UInt64(bytes[position])
      position += 1
    }
    return mix(hash ^ tail)
  }

  @inline(__always)
  private func mix(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: factor)
    return product.high ^ product.low &+ 0x2545_F491_4F6C_DD1D
  }
}
