internal import Synchronization

/// Long texts that were encoded lately: of a text that begins like one of them, only the rest is encoded.
///
/// A document comes again with every question about it, and encoding a million tokens takes a tenth of a second. What is
/// taken over is exact: encoding goes on at a place where a piece begins whatever follows
/// (`Tokenizer.resumesEncoding`). Any number of threads may use it at once.
public final class EncodingMemory: Sendable {
  /// A place at which encoding can go on.
  struct Mark: Sendable, Equatable {
    /// The byte of the text, at which a piece begins.
    let offset: Int
    /// Ids before it.
    let count: Int
    /// Where the bytes end that decided that a piece begins there.
    let reach: Int
  }

  /// A text and what it became.
  final class Known: Sendable {
    let text: [UInt8]
    let tokenizer: Tokenizer
    let addsTemplate: Bool
    let segments: [AddedTokenMatcher.Segment]
    let ids: [Int32]
    /// In ascending order.
    let marks: [Mark]

    init(
      text: [UInt8], tokenizer: Tokenizer, addsTemplate: Bool,
      segments: [AddedTokenMatcher.Segment], ids: [Int32], marks: [Mark]
    ) {
      self.text = text
      self.tokenizer = tokenizer
      self.addsTemplate = addsTemplate
      self.segments = segments
      self.ids = ids
      self.marks = marks
    }

    var byteCount: Int { text.count + 4 * ids.count + 24 * (marks.count + segments.count) }

    /// The last place at which a text can go on that begins like this one.
    func mark(
      for other: UnsafeBufferPointer<UInt8>, _ segments: [AddedTokenMatcher.Segment]
    ) -> Mark? {
      let common = text.withUnsafeBufferPointer { commonBytes($0, other) }
      // Stretches that begin before a place must be the same up to it; the last one may end elsewhere.
      let alike = zip(self.segments, segments).prefix { $0 == $1 }.count
      let border = alike < min(self.segments.count, segments.count) ? alike : alike - 1
      guard border >= 0 else { return nil }
      let (left, right) = (self.segments[border], segments[border])
      var end = min(left.range.lowerBound, common)
      if left.id == nil, right.id == nil, left.range.lowerBound == right.range.lowerBound {
        end = min(left.range.upperBound, right.range.upperBound, common)
      }
      return marks.last { $0.reach <= end }
    }
  }

  /// Shorter texts are not remembered.
  let leastBytes: Int
  /// Bytes between two places at which encoding can go on.
  let spacing: Int
  private let mostBytes: Int
  /// The one used last stands last.
  private let known = Mutex<[Known]>([])

  /// - Parameters:
  ///   - mostBytes: What texts and their ids may take.
  ///   - leastBytes: Shorter texts are not remembered.
  ///   - spacing: About so many bytes of a text are encoded again.
  public init(mostBytes: Int = 64 << 20, leastBytes: Int = 32 << 10, spacing: Int = 1024) {
    self.mostBytes = mostBytes
    self.leastBytes = leastBytes
    self.spacing = spacing
  }

  /// What is known of a text's beginning, and the place at which encoding goes on.
  func find(
    _ text: UnsafeBufferPointer<UInt8>, by tokenizer: Tokenizer, addsTemplate: Bool,
    _ segments: [AddedTokenMatcher.Segment]
  ) -> (known: Known, mark: Mark)? {
    let found = known.withLock { $0 }.lazy
      .filter { $0.tokenizer === tokenizer && $0.addsTemplate == addsTemplate }
      .compactMap { known in known.mark(for: text, segments).map { (known, $0) } }
      .max { $0.1.offset < $1.1.offset }
    guard let found else { return nil }
    known.withLock { known in
      guard let index = known.firstIndex(where: { $0 === found.0 }) else { return }
      known.append(known.remove(at: index))
    }
    return found
  }

  /// Remembers a text, in the place of the one that most of it was known from.
  func remember(_ text: Known, insteadOf replaced: Known?) {
    guard text.byteCount <= mostBytes else { return }
    known.withLock { known in
      known.removeAll { $0 === replaced }
      known.append(text)
      var bytes = known.reduce(0) { $0 + $1.byteCount }
      while bytes > mostBytes { bytes -= known.removeFirst().byteCount }
    }
  }

  /// How many texts are remembered.
  package var count: Int { known.withLock { $0.count } }
}

/// With how many bytes two texts begin alike.
private func commonBytes(
  _ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>
) -> Int {
  let count = min(left.count, right.count)
  guard let left = left.baseAddress, let right = right.baseAddress else { return 0 }
  let (a, b) = (UnsafeRawPointer(left), UnsafeRawPointer(right))
  var index = 0
  while index + 8 <= count,
    a.loadUnaligned(fromByteOffset: index, as: UInt64.self)
      == b.loadUnaligned(fromByteOffset: index, as: UInt64.self)
  {
    index += 8
  }
  while index < count, left[index] == right[index] { index += 1 }
  return index
}
