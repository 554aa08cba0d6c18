/// Scalars divided into classes whose members no set of an expression tells apart.
struct ScalarPartition: Sendable {
  /// One class number stands for the end of the text.
  static let largestCount = 254

  /// How many classes there are; the number itself is the class of the end of the text.
  let count: Int
  /// By set, 256 entries each: whether a class belongs to it.
  let membership: [Bool]
  /// By scalar >> 8: where its page begins in `pages`.
  private let pageStarts: [UInt32]
  private let pages: [UInt8]

  /// - Throws: `SplitExpressionError` where there are more than `largestCount` classes.
  init(_ sets: [ScalarSet]) throws(SplitExpressionError) {
    var toggles: [UInt32: [Int]] = [0: []]
    for (index, set) in sets.enumerated() {
      for range in set.ranges {
        toggles[range.lowerBound, default: []].append(index)
        toggles[range.upperBound + 1, default: []].append(index)
      }
    }
    var numbers: [[UInt64]: UInt8] = [:]
    var members = [UInt64](repeating: 0, count: sets.count / 64 + 1)
    var membership = [Bool](repeating: false, count: sets.count * 256)
    var starts: [(scalar: UInt32, number: UInt8)] = []
    for scalar in toggles.keys.sorted() where scalar <= ScalarSet.largestScalar {
      for index in toggles[scalar] ?? [] { members[index / 64] ^= 1 << UInt64(index % 64) }
      if let number = numbers[members] {
        starts.append((scalar, number))
        continue
      }
      guard numbers.count < Self.largestCount else {
        throw SplitExpressionError(
          problem: "tells more than \(Self.largestCount) classes of characters apart")
      }
      let number = UInt8(numbers.count)
      numbers[members] = number
      starts.append((scalar, number))
      for index in sets.indices where members[index / 64] >> UInt64(index % 64) & 1 != 0 {
        membership[index << 8 | Int(number)] = true
      }
    }
    count = numbers.count
    self.membership = membership

    var pageStarts: [UInt32] = []
    var pages: [UInt8] = []
    var known: [[UInt8]: UInt32] = [:]
    var entry = 0
    var page = [UInt8](repeating: 0, count: 256)
    for pageIndex in 0..<0x1100 as Range<UInt32> {
      for offset in 0..<256 as Range<UInt32> {
        while entry + 1 < starts.count, starts[entry + 1].scalar <= pageIndex << 8 | offset {
          entry += 1
        }
        page[Int(offset)] = starts[entry].number
      }
      if let start = known[page] {
        pageStarts.append(start)
      } else {
        known[page] = UInt32(pages.count)
        pageStarts.append(UInt32(pages.count))
        pages += page
      }
    }
    self.pageStarts = pageStarts
    self.pages = pages
  }

  /// Writes the class of every scalar of well-formed UTF-8 to `classes`, which has room for as many as there
  /// are bytes.
  ///
  /// - Returns: the number of scalars.
  func classify(
    _ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, into classes: UnsafeMutablePointer<UInt8>
  ) -> Int {
    pages.withUnsafeBufferPointer { pages in
      pageStarts.withUnsafeBufferPointer { starts in
        var count = 0
        var position = range.lowerBound
        let ascii = Int(starts[0])
        while position < range.upperBound {
          let byte = bytes[position]
          if byte < 0x80 {
            classes[count] = pages[ascii + Int(byte)]
            position += 1
          } else {
            let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
            classes[count] = pages[Int(starts[Int(scalar >> 8)]) + Int(scalar & 0xFF)]
            position += length
          }
          count += 1
        }
        return count
      }
    }
  }
}
