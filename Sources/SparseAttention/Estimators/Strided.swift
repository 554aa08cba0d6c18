/// Strided windows: the first `sink` keys, the `local` nearest, and every `stride`th of the `window`
/// keys before those.
///
/// A static baseline of the paper; upstream's constants (`dilated2`) are sink 1024, local 2048,
/// window 4096, stride 2. What is said of tiles at ``Dilated`` holds here.
public enum Strided {
  public static func selection(
    sink: Int, local: Int, window: Int, stride: Int, keys: Int
  ) -> PairSelection {
    let near = (0..<Int32(min(max(local, 1), keys))).map { $0 }
    let far = Dilated.offsets(
      from: near.count, to: near.count + max(window, 0), stride: stride, keys: keys)
    return .bands(
      BandSelection(slashOffsets: near + far, columns: AShape.sinkColumns(sink, keys: keys)))
  }
}
