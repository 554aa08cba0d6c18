import Compute
import Testing

@Suite struct RoutingRuleTests {
  @Test(
    "Softmax weights are taken over all experts, and divided by their sum where the rule says so")
  func softmax() {
    var rule = RoutingRule(experts: 4, perRow: 2, score: .softmax, normalizes: false)
    let logits = [0, 1, 2, 1.5]
    let whole = rule.choose(logits: logits)
    #expect(whole.experts == [2, 3])
    #expect(whole.weights.reduce(0, +) < 0.8)
    rule.normalizes = true
    rule.scaling = 3
    let shares = rule.choose(logits: logits)
    #expect(shares.experts == [2, 3])
    #expect(abs(shares.weights.reduce(0, +) - 3) < 1e-12)
    #expect(abs(shares.weights[0] / shares.weights[1] - 1.6487212707) < 1e-9)
  }

  @Test("A bias changes who is chosen, and no weight")
  func bias() {
    let rule = RoutingRule(experts: 3, perRow: 1, score: .sigmoid, normalizes: false)
    let chosen = rule.choose(logits: [2, 0, 1], bias: [0, 0.9, 0])
    #expect(chosen.experts == [1])
    #expect(chosen.weights == [0.5])
  }

  @Test("Experts outside the groups with the best pairs are not chosen")
  func groups() {
    let rule = RoutingRule(
      experts: 6, perRow: 2, score: .sigmoid, groups: 3, chosenGroups: 1, normalizes: true)
    // The single best expert stands in a group whose second is poor.
    let chosen = rule.choose(logits: [4, -4, 2, 2.5, 0, 0])
    #expect(chosen.experts == [3, 2])
  }

  @Test("Of equal logits the lower expert comes first")
  func ties() {
    let rule = RoutingRule(experts: 5, perRow: 3, score: .softmax, normalizes: true)
    #expect(rule.choose(logits: [1, 7, 1, 7, 1]).experts == [1, 3, 0])
  }

  @Test("Rules that no kernel could follow are refused when rows are routed")
  func refusesRules() throws {
    let backend = ReferenceBackend()
    for rule in [
      RoutingRule(experts: 4, perRow: 5, score: .softmax, normalizes: true),
      RoutingRule(experts: 1024, perRow: 2, score: .softmax, normalizes: true),
      RoutingRule(
        experts: 9, perRow: 2, score: .sigmoid, groups: 2, chosenGroups: 1, normalizes: true),
    ] {
      let routing = try ExpertRouting(rows: 1, rule: rule, backend: backend, purpose: "a test")
      let logits = try backend.makeTensor(.float32, [1, rule.experts], purpose: "a test")
      #expect(throws: ComputeError.self) { try backend.route(logits, bias: nil, into: routing) }
    }
  }

  @Test("Positions are in the order of experts, and of rows within one expert")
  func positions() {
    let positions = ExpertPositions(chosen: [2, 0, 0, 2, 2, 1], perRow: 2, experts: 4)
    #expect(positions.offsets == [0, 2, 3, 6, 6])
    #expect(positions.sources == [0, 1, 2, 0, 1, 2])
    #expect(positions.experts == [0, 0, 1, 2, 2, 2])
    #expect(positions.places == [3, 0, 1, 4, 5, 2])
    for (choice, place) in positions.places.enumerated() {
      #expect(Int(positions.sources[Int(place)]) == choice / 2)
    }
  }
}
