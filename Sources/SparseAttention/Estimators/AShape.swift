/// A-shape (StreamingLLM): the first `sink` keys and the `local` nearest, j < sink or i - j < local.
///
/// Needs no estimate. Source: upstream's streaming kernel, which counts the window in tokens, the
/// query's own key included. Upstream scales the scores of heads whose size is no power of two by
/// the padded size; here the model's own scale is always used.
public enum AShape {
  public static func selection(sink: Int, local: Int, keys: Int) -> PairSelection {
    .bands(
      BandSelection(offsets: [0..<min(max(local, 1), keys)], columns: sinkColumns(sink, keys: keys))
    )
  }

  /// The columns 0 ..< sink, as far as there are keys.
  static func sinkColumns(_ sink: Int, keys: Int) -> [Int32] {
    (0..<Int32(min(max(sink, 0), keys))).map { $0 }
  }
}
