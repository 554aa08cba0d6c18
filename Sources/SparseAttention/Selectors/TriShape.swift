/// Tri-shape: A-shape, and every key for the last `last` rows of the chunk.
///
/// Needs no estimate. In a prompt read in several chunks the last rows of every chunk are dense,
/// because the index of a chunk depends on nothing after it; one chunk is the published method.
public struct TriShape: Selector {
  public var sink: Int
  public var local: Int
  public var last: Int

  public init(sink: Int, local: Int, last: Int) {
    self.sink = sink
    self.local = local
    self.last = last
  }

  public static let name = "tri-shape"
  public static let budgets = [
    SelectorBudget.count("sink", standard: 128), .count("local", standard: 3968),
    .count("last", standard: 100),
  ]

  public init(values: [Double]) {
    self.init(sink: Int(values[0]), local: Int(values[1]), last: Int(values[2]))
  }

  public var values: [Double] { [Double(sink), Double(local), Double(last)] }
  public var needs: SketchNeeds { .nothing }
  public var alwaysComputed: Int { sink + local }

  public func select(_ sketch: HeadSketch) -> HeadSelection {
    HeadSelection(Self.selection(sink: sink, local: local, last: last, keys: sketch.keys))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest { .selectedOnHost }

  public static func selection(sink: Int, local: Int, last: Int, keys: Int) -> PairSelection {
    .bands(
      BandSelection(
        offsets: [0..<min(max(local, 1), keys)], columns: AShape.sinkColumns(sink, keys: keys),
        denseFrom: max(0, keys - max(last, 0))))
  }
}
