/// Merging of long inputs, exactly, in windows.
///
/// Let `u`, `v`, … be pieces such that merging the symbols of each two neighbours gives just those two. Then
/// merging the symbols of all of them gives `u`, `v`, …: the first merge across a border would have happened
/// among those two alone, because until then each merge in their stretch was the lowest of the stretch.
/// Conversely any two neighbours of a merged stretch merge to themselves. So two windows that overlap and
/// share one piece can be joined at it, and the whole is what merging everything at once would give.
extension PairMerger {
  /// Symbols in a window at first: large enough for the longest pieces to be rare, small enough for the cache.
  private static var firstWindow: Int { 128 }

  /// A merged window: where each piece begins and its id.
  private struct Window {
    var starts: [Int] = []
    var ids: [UInt32] = []
    var end = 0
    var count: Int { ids.count }

    func endOfPiece(_ index: Int) -> Int { index + 1 < starts.count ? starts[index + 1] : end }
  }

  /// Merges any number of symbols onto the end of `output`.
  func mergeAll(
    _ symbols: UnsafeBufferPointer<UInt32>, _ merges: MergeTable.Lookup, into output: TokenBuffer
  ) {
    if symbols.count > 2 * Self.firstWindow {
      let start = output.count
      if mergeWindows(symbols, merges, into: output) { return }
      output.removeAll(from: start)
    }
    merge(symbols, merges) { output.append($1) }
  }

  /// Returns false, having written nonsense, if windows of any size could not be joined.
  private func mergeWindows(
    _ symbols: UnsafeBufferPointer<UInt32>, _ merges: MergeTable.Lookup, into output: TokenBuffer
  ) -> Bool {
    var size = Self.firstWindow
    var current = Window()
    var following = Window()
    var written = 0
    fill(&current, symbols, from: 0, size: size, merges)
    while current.end < symbols.count {
      // Begin anew at a piece about an eighth of a window before the end.
      var restart = current.count - 1
      let latest = current.end - size / 8
      while restart > written, current.starts[restart] > latest { restart -= 1 }
      if restart <= written {
        // One piece fills what is left of the window: look further from the same place.
        restart = written
        size *= 2
      }
      fill(&following, symbols, from: current.starts[restart], size: size, merges)

      if let (old, new) = commonPiece(current, from: restart, following) {
        for index in written..<old { output.append(current.ids[index]) }
        written = new
        swap(&current, &following)
      } else {
        size *= 2
        if size >= symbols.count { return false }
      }
    }
    for index in written..<current.count { output.append(current.ids[index]) }
    return true
  }

  private func fill(
    _ window: inout Window, _ symbols: UnsafeBufferPointer<UInt32>, from start: Int, size: Int,
    _ merges: MergeTable.Lookup
  ) {
    window.starts.removeAll(keepingCapacity: true)
    window.ids.removeAll(keepingCapacity: true)
    window.end = min(start + size, symbols.count)
    merge(UnsafeBufferPointer(rebasing: symbols[start..<window.end]), merges) { position, id in
      window.starts.append(start + position)
      window.ids.append(id)
    }
  }

  /// The first piece that both windows have at the same place.
  private func commonPiece(
    _ old: Window, from first: Int, _ new: Window
  ) -> (old: Int, new: Int)? {
    var (left, right) = (first, 0)
    while left < old.count, right < new.count {
      let (leftStart, rightStart) = (old.starts[left], new.starts[right])
      if leftStart == rightStart, old.endOfPiece(left) == new.endOfPiece(right),
        old.ids[left] == new.ids[right]
      {
        return (left, right)
      }
      if leftStart <= rightStart { left += 1 }
      if rightStart <= leftStart { right += 1 }
    }
    return nil
  }
}
