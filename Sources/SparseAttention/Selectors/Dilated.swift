/// Dilated windows: the first `sink` keys and every `stride`th of the `window` nearest, offsets 0,
/// stride, 2 stride ... below `window`.
///
/// A static baseline of the paper; upstream's constants (`dilated1`) are sink 1024, window 8192,
/// stride 2. Tiles are supersets, so on tiles wider than the stride all of the window is computed:
/// the baseline then keeps at least the mass that it would keep with a mask for each pair.
public struct Dilated: Selector {
  public var sink: Int
  public var window: Int
  public var stride: Int

  public init(sink: Int, window: Int, stride: Int) {
    self.sink = sink
    self.window = window
    self.stride = stride
  }

  public static let name = "dilated"
  public static let budgets = [
    SelectorBudget.count("sink", standard: 1024), .count("window", standard: 8192),
    .count("stride", standard: 2),
  ]

  public init(values: [Double]) {
    self.init(sink: Int(values[0]), window: Int(values[1]), stride: Int(values[2]))
  }

  public var values: [Double] { [Double(sink), Double(window), Double(stride)] }
  public var needs: SketchNeeds { .nothing }
  public var alwaysComputed: Int { sink + window }

  public func select(_ sketch: HeadSketch) -> HeadSelection {
    HeadSelection(Self.selection(sink: sink, window: window, stride: stride, keys: sketch.keys))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest { .selectedOnHost }

  public static func selection(sink: Int, window: Int, stride: Int, keys: Int) -> PairSelection {
    .bands(
      BandSelection(
        slashOffsets: offsets(from: 0, to: window, stride: stride, keys: keys),
        columns: AShape.sinkColumns(sink, keys: keys)))
  }

  /// Every `stride`th offset of a range, as far as there are keys.
  static func offsets(from start: Int, to end: Int, stride step: Int, keys: Int) -> [Int32] {
    Swift.stride(from: start, to: min(end, keys), by: max(step, 1)).map(Int32.init)
  }
}
