/// Dense causal attention: every pair. Needs no estimate.
public struct Dense: Selector {
  public init() {}

  public static let name = "dense"
  public static let budgets: [SelectorBudget] = []

  public init(values: [Double]) {}

  public var values: [Double] { [] }
  public var needs: SketchNeeds { .nothing }
  public var alwaysComputed: Int { 0 }

  public func select(_ sketch: HeadSketch) -> HeadSelection { HeadSelection(.all) }
  public func deviceRequest(keys: Int) -> DeviceRequest { .dense(nil) }

  public static var searchCandidates: [Dense] { [Dense()] }
}
