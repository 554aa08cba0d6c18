/// Which experts the rows of a block go to, on the device.
///
/// Every row has `perRow` places among `rows * perRow` positions. Positions are in the order of their
/// experts, and those of one expert in the order of the rows, so that an expert's inputs lie together
/// and every sum over a row's experts has one order: results do not depend on how work was divided.
public struct ExpertRouting: Sendable {
  public let rule: RoutingRule
  public let rows: Int
  /// [rows, perRow] float32: what the output of a row's choice is multiplied with.
  public let weights: Tensor
  /// [rows, perRow] int32: the position of a row's choice.
  public let places: Tensor
  /// [rows * perRow] int32: the row at a position.
  public let sources: Tensor
  /// [rows * perRow] int32: the expert at a position.
  public let experts: Tensor
  /// [experts + 1] int32: the positions of expert e are those from entry e up to entry e + 1.
  public let offsets: Tensor

  /// Positions: rows that all experts compute together.
  public var positions: Int { rows * rule.perRow }

  /// Uninitialised room for the routing of up to `rows` rows.
  public init(rows: Int, rule: RoutingRule, backend: any MemoryOperations, purpose: String) throws {
    self.rule = rule
    self.rows = rows
    let count = rows * rule.perRow
    weights = try backend.makeTensor(.float32, [rows, rule.perRow], purpose: purpose)
    places = try backend.makeTensor(.int32, [rows, rule.perRow], purpose: purpose)
    sources = try backend.makeTensor(.int32, [count], purpose: purpose)
    experts = try backend.makeTensor(.int32, [count], purpose: purpose)
    offsets = try backend.makeTensor(.int32, [rule.experts + 1], purpose: purpose)
  }

  private init(slicing whole: ExpertRouting, rows: Int) {
    rule = whole.rule
    self.rows = rows
    let count = rows * rule.perRow
    weights = whole.weights.slice(rows: 0..<rows)
    places = whole.places.slice(rows: 0..<rows)
    sources = whole.sources.slice(rows: 0..<count)
    experts = whole.experts.slice(rows: 0..<count)
    offsets = whole.offsets
  }

  /// Room for the first `rows` rows alone; shares memory with this one.
  public func prefix(_ rows: Int) -> ExpertRouting { ExpertRouting(slicing: self, rows: rows) }

  /// Bytes of the routing of so many rows.
  public static func byteCount(rows: Int, rule: RoutingRule) -> Int {
    4 * (4 * rows * rule.perRow + rule.experts + 1)
  }
}

/// The positions of rows in the order of their experts: how ``ExpertRouting`` is defined.
package struct ExpertPositions: Sendable, Equatable {
  package var places: [Int32]
  package var sources: [Int32]
  package var experts: [Int32]
  package var offsets: [Int32]

  /// - Parameter chosen: The experts of row 0, of row 1 and so on, `perRow` of each.
  package init(chosen: [Int32], perRow: Int, experts count: Int) {
    offsets = Array(repeating: 0, count: count + 1)
    for expert in chosen { offsets[Int(expert) + 1] += 1 }
    for expert in 0..<count { offsets[expert + 1] += offsets[expert] }
    var next = offsets
    places = Array(repeating: 0, count: chosen.count)
    sources = places
    experts = places
    for (choice, expert) in chosen.enumerated() {
      let position = next[Int(expert)]
      next[Int(expert)] += 1
      places[choice] = position
      sources[Int(position)] = Int32(choice / perRow)
      experts[Int(position)] = expert
    }
  }
}
