package import MInference

/// What the published vertical-slash kernels compute of a selection, and how fast: the figure that
/// the same selection here is held against.
///
/// They work on 64 query rows at a time. An offset o of a row block that ends at position `end` is the
/// block of 64 keys end - o - 64 ..< end - o; blocks that overlap are joined in steps of 64; columns
/// that lie in none of them are gathered, each for itself. Source: upstream's
/// `convert_vertical_slash_indexes` and the kernels of vLLM and SGLang that read its lists.
package enum PublishedBlockRules {
  static let rows = 64

  /// (query, key) pairs that those kernels compute for one head; keys beyond a block's last row, which
  /// they mask, and the places that fill up the last block of columns do not count.
  ///
  /// O(keys / 64 * (offsets + columns)).
  package static func pairs(_ bands: BandSelection, keys: Int) -> Int {
    let offsets = bands.slashOffsets.map(Int.init)
    let columns = bands.columns.map(Int.init)
    return offsets.withUnsafeBufferPointer { offsets in
      columns.withUnsafeBufferPointer { columns in
        stride(from: 0, to: keys, by: rows).reduce(0) { sum, start in
          let end = min(start + rows, keys)
          return sum + (end - start) * width(offsets, columns, start: start, end: end)
        }
      }
    }
  }

  /// Keys that one block of rows computes.
  private static func width(
    _ offsets: UnsafeBufferPointer<Int>, _ columns: UnsafeBufferPointer<Int>, start: Int, end: Int
  ) -> Int {
    var width = 0
    var column = 0
    var range: (start: Int, end: Int)?
    func closed(_ range: (start: Int, end: Int), _ column: inout Int) -> Int {
      var width = min(range.end, end) - range.start
      while column < columns.count, columns[column] < min(range.start, start) {
        column += 1
        width += 1
      }
      while column < columns.count, columns[column] < range.end { column += 1 }
      return width
    }
    // Far offsets lie left of near ones.
    for offset in offsets.reversed() where offset < end {
      let stop = max(end - offset, rows)
      guard let last = range else {
        range = (stop - rows, stop)
        continue
      }
      if stop > last.end + rows {
        width += closed(last, &column)
        range = (stop - rows, stop)
      } else if stop > last.end {
        range = (last.start, last.end + rows)
      }
    }
    if let range { width += closed(range, &column) }
    while column < columns.count, columns[column] < start {
      column += 1
      width += 1
    }
    return width
  }

  /// Operations a second that the public kernel reaches, on one H100, causal, 32 query heads over 8
  /// key-value heads of 128, measured side by side with others at 128K and 512K tokens (1000 columns, 1024
  /// scattered offsets): 4 * 128 operations for each pair of those rules. nil for prompts shorter than that.
  package static func operationsPerSecond(keys: Int) -> Double? {
    if keys >= 524_288 { return 271e12 }
    return keys >= 131_072 ? 293e12 : nil
  }
}
