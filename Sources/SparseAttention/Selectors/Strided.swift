/// Strided windows: the first `sink` keys, the `local` nearest, and every `stride`th of the `window`
/// keys before those.
///
/// A static baseline of the paper; upstream's constants (`dilated2`) are sink 1024, local 2048,
/// window 4096, stride 2. What is said of tiles at ``Dilated`` holds here.
public struct Strided: Selector {
  public var sink: Int
  public var local: Int
  public var window: Int
  public var stride: Int

  public init(sink: Int, local: Int, window: Int, stride: Int) {
    self.sink = sink
    self.local = local
    self.window = window
    self.stride = stride
  }

  public static let name = "strided"
  public static let budgets = [
    SelectorBudget.count("sink", standard: 1024), .count("local", standard: 2048),
    .count("window", standard: 4096), .count("stride", standard: 2),
  ]

  public init(values: [Double]) {
    self.init(
      sink: Int(values[0]), local: Int(values[1]), window: Int(values[2]), stride: Int(values[3]))
  }

  public var values: [Double] { [Double(sink), Double(local), Double(window), Double(stride)] }
  public var needs: SketchNeeds { .nothing }
  public var alwaysComputed: Int { sink + local + window }

  public func select(_ sketch: HeadSketch) -> HeadSelection {
    HeadSelection(
      Self.selection(
        sink: sink, local: local, window: window, stride: stride, keys: sketch.keys))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest { .selectedOnHost }

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
