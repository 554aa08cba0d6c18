/// The character classes that split patterns and added tokens ask about, in a two-level table.
struct CharacterClasses: Sendable {
  static let letter: UInt8 = 1
  static let number: UInt8 = 2
  static let whiteSpace: UInt8 = 4
  static let word: UInt8 = 8

  /// The one table, built from `characterClassTransitions` at first use (about a millisecond).
  static let shared = CharacterClasses()

  /// By scalar >> 8: where its page begins in `pages`.
  private let pageStarts: [UInt32]
  private let pages: [UInt8]

  /// Looks scalars up without bounds checks, for the length of one call.
  struct Lookup {
    fileprivate let pageStarts: UnsafePointer<UInt32>
    fileprivate let pages: UnsafePointer<UInt8>

    /// The class bits of a scalar value; `scalar` is at most 0x10FFFF.
    @inline(__always)
    func bits(_ scalar: UInt32) -> UInt8 {
      pages[Int(pageStarts[Int(scalar >> 8)] + scalar & 0xFF)]
    }
  }

  /// Runs `body` with the table at hand.
  @inline(__always)
  func withLookup<Result>(_ body: (Lookup) -> Result) -> Result {
    pageStarts.withUnsafeBufferPointer { starts in
      pages.withUnsafeBufferPointer { pages in
        body(
          Lookup(
            pageStarts: starts.baseAddress.unsafelyUnwrapped,
            pages: pages.baseAddress.unsafelyUnwrapped))
      }
    }
  }

  /// The class bits of one scalar value.
  func bits(_ scalar: UInt32) -> UInt8 { withLookup { $0.bits(scalar) } }

  private init() {
    var starts: [UInt32] = []
    var pages: [UInt8] = []
    var known: [[UInt8]: UInt32] = [:]
    var page: [UInt8] = []
    page.reserveCapacity(256)
    var current: UInt8 = 0

    func advance(to scalar: Int) {
      while starts.count * 256 + page.count < scalar {
        page.append(current)
        if page.count == 256 {
          if let start = known[page] {
            starts.append(start)
          } else {
            known[page] = UInt32(pages.count)
            starts.append(UInt32(pages.count))
            pages += page
          }
          page.removeAll(keepingCapacity: true)
        }
      }
    }
    for (scalar, value) in UnicodeData.transitions(characterClassTransitions) {
      advance(to: scalar)
      current = UInt8(truncatingIfNeeded: value)
    }
    advance(to: 0x110000)
    self.pageStarts = starts
    self.pages = pages
  }
}
