import Testing

import Pipeline

/// Plans are values: which layers a device gets, and where prompts are cut.
struct PipelinePlanTests {
  static let llama = PipelineShape(
    layers: 32, hiddenSize: 4096, intermediateSize: 14336, vocabularySize: 128_256,
    queryHeads: 32, keyValueHeads: 8, headDim: 128)

  /// The slowest stage of every way to spread so few layers.
  private func best(
    _ model: PipelinePlan.Model, _ devices: [PipelinePlan.Device]
  ) -> Double? {
    func search(_ stage: Int, _ first: Int) -> Double? {
      if stage == devices.count { return first == model.layers ? 0 : nil }
      guard first < model.layers else { return nil }
      var best: Double?
      for end in first + 1..<model.layers + 1 {
        let isLast = stage == devices.count - 1
        let bytes =
          (end - first) * model.layerBytes + (stage == 0 ? model.embeddingBytes : 0)
          + (isLast ? model.outputBytes : 0)
        guard bytes <= devices[stage].freeBytes ?? .max, let rest = search(stage + 1, end)
        else { continue }
        let seconds =
          devices[stage].layerSeconds
          * (Double(end - first) + (stage == 0 ? model.embeddingLayers : 0)
            + (isLast ? model.outputLayers : 0))
        best = min(best ?? .infinity, max(seconds, rest))
      }
      return best
    }
    return search(0, 0)
  }

  private func slowest(
    _ plan: PipelinePlan, _ model: PipelinePlan.Model, _ devices: [PipelinePlan.Device]
  ) -> Double {
    plan.stages.indices.map { stage in
      devices[stage].layerSeconds
        * (Double(plan.stages[stage].count) + (stage == 0 ? model.embeddingLayers : 0)
          + (stage == devices.count - 1 ? model.outputLayers : 0))
    }.max() ?? .nan
  }

  @Test("no other way to spread the layers has a quicker slowest stage")
  func optimum() throws {
    var state: UInt64 = 9
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    var planned = 0
    for _ in 0..<200 {
      let model = PipelinePlan.Model(
        layers: 1 + random(9), layerBytes: 10, embeddingBytes: random(15),
        outputBytes: random(15), embeddingLayers: Double(random(20)) / 10,
        outputLayers: Double(random(30)) / 10 - 0.9)
      let devices = (0..<1 + random(4)).map { _ in
        PipelinePlan.Device(
          layerSeconds: Double(1 + random(4)), freeBytes: random(3) == 0 ? nil : 10 + random(70))
      }
      guard devices.count <= model.layers else {
        #expect(throws: PipelineError.self) { try PipelinePlan(model, devices: devices) }
        continue
      }
      guard let best = best(model, devices) else {
        #expect(throws: PipelineError.self) { try PipelinePlan(model, devices: devices) }
        continue
      }
      let plan = try PipelinePlan(model, devices: devices)
      #expect(plan.stages.first?.lowerBound == 0 && plan.stages.last?.upperBound == model.layers)
      #expect(plan.stages.allSatisfy { !$0.isEmpty })
      #expect(
        zip(plan.stages, plan.stages.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(abs(slowest(plan, model, devices) - best) < 1e-9)
      planned += 1
    }
    #expect(planned > 50)
  }

  @Test("equal devices share the layers of Llama-3-8B evenly")
  func even() throws {
    for stages in [1, 2, 4, 8, 16, 32] {
      let plan = try PipelinePlan(
        PipelinePlan.Model(Self.llama), devices: Array(repeating: .init(), count: stages))
      #expect(plan.stages.map(\.count).max() == 32 / stages)
    }
  }

  @Test("chunks cover the prompt, end at the grain, and take equal time", arguments: [false, true])
  func chunks(isSparse: Bool) {
    let costs = PipelineCosts(Self.llama, device: .h200)
    for first in [0, 5_000] {
      let cut = PipelineChunks(
        first..<1 << 18, stages: 4, layers: 8, costs: costs, isSparse: isSparse, granule: 1024,
        count: 16)
      #expect(cut.chunks.first?.lowerBound == first && cut.chunks.last?.upperBound == 1 << 18)
      #expect(
        zip(cut.chunks, cut.chunks.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(cut.ends.allSatisfy { $0 % 1024 == 0 })
      let seconds = cut.chunks.map { costs.layerSeconds($0, isSparse: isSparse, tokens: 1 << 18) }
      let (least, most) = (seconds.min() ?? 0, seconds.max() ?? .infinity)
      #expect(most / least < 1.35)
      // Later chunks of dense attention cost more for each token.
      if !isSparse {
        #expect(cut.chunks[0].count > 2 * (cut.chunks.last?.count ?? .max))
      }
    }
  }

  @Test("a prompt that is shorter than the grain is one chunk")
  func short() {
    let costs = PipelineCosts(Self.llama, device: .h200)
    let cut = PipelineChunks(
      0..<700, stages: 8, layers: 4, costs: costs, isSparse: true, granule: 1024)
    #expect(cut.chunks == [0..<700])
    #expect(cut.ends.isEmpty)
  }

  @Test("equal chunks take chunks + stages - 1 turns")
  func turns() {
    let costs = {
      var costs = PipelineCosts(Self.llama, device: .h200)
      (costs.perPair, costs.perKey, costs.embeddingPerToken, costs.output) = (0, 0, 0, 0)
      (costs.linkPerToken, costs.linkDelay) = (0, 0)
      return costs
    }()
    let chunks = (0..<32).map { $0 * 1024..<($0 + 1) * 1024 }
    for stages in [1, 2, 8] {
      let simulation = PipelineSimulation(
        layersOfStages: Array(repeating: 4, count: stages), chunks: chunks, costs: costs,
        isSparse: true)
      let turn = 4 * costs.layerSeconds(chunks[0], isSparse: true, tokens: 32 * 1024)
      #expect(abs(simulation.seconds / turn - Double(32 + stages - 1)) < 1e-6)
      #expect(abs(simulation.utilization - 32 / Double(32 + stages - 1)) < 1e-6)
    }
  }

  @Test("the number of chunks that is chosen beats half and twice as many")
  func count() {
    let costs = PipelineCosts(Self.llama, device: .h200)
    func seconds(_ count: Int?) -> (Double, Int) {
      let cut = PipelineChunks(
        0..<1 << 17, stages: 2, layers: 16, costs: costs, isSparse: true, granule: 1024,
        count: count)
      let simulation = PipelineSimulation(
        layersOfStages: [16, 16], chunks: cut.chunks, costs: costs, isSparse: true)
      return (simulation.seconds, cut.chunks.count)
    }
    let (best, chosen) = seconds(nil)
    #expect(chosen > 3 && chosen < 64)
    #expect(best <= seconds(chosen / 2).0 && best <= seconds(chosen * 2).0)
  }

  @Test("a chunk's pairs are those of its rows' budget, and no more than there are")
  func pairs() {
    let costs = PipelineCosts(Self.llama, device: .h200, sparseKeys: 100)
    for chunk in [0..<50, 0..<300, 40..<60, 80..<500, 200..<300] {
      let dense = chunk.reduce(0.0) { $0 + Double($1 + 1) }
      let budget = 100 * Double(chunk.upperBound) / 500
      let sparse = chunk.reduce(0.0) { $0 + min(Double($1 + 1), budget) }
      #expect(abs(costs.pairs(chunk, isSparse: false, tokens: 500) - dense) < 1)
      #expect(abs(costs.pairs(chunk, isSparse: true, tokens: 500) - sparse) < 101)
    }
  }
}
