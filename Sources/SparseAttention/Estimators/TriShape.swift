/// Tri-shape: A-shape, and every key for the last `last` rows of the chunk.
///
/// Needs no estimate. In a prompt read in several chunks the last rows of every chunk are dense,
/// because the index of a chunk depends on nothing after it; one chunk is the published method.
public enum TriShape {
  public static func selection(sink: Int, local: Int, last: Int, keys: Int) -> PairSelection {
    .bands(
      BandSelection(
        offsets: [0..<min(max(local, 1), keys)], columns: AShape.sinkColumns(sink, keys: keys),
        denseFrom: max(0, keys - max(last, 0))))
  }
}
