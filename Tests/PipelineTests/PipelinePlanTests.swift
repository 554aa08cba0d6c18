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

  @Test("a plan for costs is no slower than one that the slowest stage decides, and fits")
  func improvement() throws {
    let costs = PipelineCosts(Self.llama, device: .h200)
    let model = PipelinePlan.Model(Self.llama)
    func seconds(_ plan: PipelinePlan, _ slowness: [Double]) -> Double {
      let stages = PipelineSimulation.Stages(
        layers: plan.stages.map(\.count), slowness: slowness)
      let cut = PipelineChunks(
        0..<1 << 17, stages: stages, costs: costs, isSparse: true, granule: 1024)
      return PipelineSimulation(
        stages, chunks: cut.chunks, costs: costs, isSparse: true
      ).seconds
    }
    for (slowness, limits) in [
      ([1.0, 1], [Int?](repeating: nil, count: 2)), ([1, 1.5, 1], [nil, nil, nil]),
      ([1, 1], [nil, model.outputBytes + 14 * model.layerBytes]),
    ] {
      let devices = zip(slowness, limits).map {
        PipelinePlan.Device(layerSeconds: $0, freeBytes: $1)
      }
      let plain = try PipelinePlan(model, devices: devices)
      let plan = try PipelinePlan(
        model, devices: devices, costs: costs, slowness: slowness, isProcessor: false)
      #expect(seconds(plan, slowness) <= seconds(plain, slowness))
      #expect(plan.stages.first?.lowerBound == 0 && plan.stages.last?.upperBound == 32)
      #expect(plan.stages.allSatisfy { !$0.isEmpty })
      #expect(
        zip(plan.stages, plan.stages.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      if limits.last != .some(nil) { #expect(plan.stages.last?.count == 14) }
    }
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
        first..<1 << 18, stages: .init(layers: [8, 8, 8, 8]), costs: costs, isSparse: isSparse,
        granule: 1024, count: 16)
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
      0..<700, stages: .init(layers: Array(repeating: 4, count: 8)), costs: costs, isSparse: true,
      granule: 1024)
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
        .init(layers: Array(repeating: 4, count: stages), lastRowOnly: false), chunks: chunks,
        costs: costs, isSparse: true)
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
        0..<1 << 17, stages: .init(layers: [16, 16]), costs: costs, isSparse: true, granule: 1024,
        count: count)
      let simulation = PipelineSimulation(
        .init(layers: [16, 16]), chunks: cut.chunks, costs: costs, isSparse: true)
      return (simulation.seconds, cut.chunks.count)
    }
    let (best, chosen) = seconds(nil)
    #expect(chosen > 3 && chosen < 64)
    #expect(best <= seconds(chosen / 2).0 && best <= seconds(chosen * 2).0)
  }

  @Test("chunks shrink where the first stage has more to do, and grow where the last one has")
  func unevenStages() {
    var costs = PipelineCosts(Self.llama, device: .h200)
    costs.perKey = 0
    func cut(_ layers: [Int], count: Int? = nil) -> (chunks: [Range<Int>], seconds: Double) {
      let stages = PipelineSimulation.Stages(layers: layers, lastRowOnly: false)
      let chunks = PipelineChunks(
        0..<1 << 20, stages: stages, costs: costs, isSparse: true, granule: 1024, count: count
      ).chunks
      let seconds = PipelineSimulation(
        stages, chunks: chunks, costs: costs, isSparse: true
      ).seconds
      return (chunks, seconds)
    }
    let (shrinking, first) = cut([17, 15])
    #expect(shrinking[0].count > 2 * (shrinking.last?.count ?? .max))
    let (growing, last) = cut([15, 17])
    #expect(2 * growing[0].count < growing.last?.count ?? 0)
    for (layers, found, seconds) in [([17, 15], shrinking, first), ([15, 17], growing, last)] {
      #expect(
        zip(found, found.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      for count in [found.count / 2, found.count, 2 * found.count] {
        #expect(seconds < cut(layers, count: count).seconds)
      }
    }
  }

  @Test("a stage on a slower device takes that much longer")
  func slowness() {
    let costs = PipelineCosts(Self.llama, device: .h200)
    func busy(_ slowness: [Double]?) -> [Double] {
      PipelineSimulation(
        .init(layers: [8, 8], slowness: slowness), chunks: [0..<4096, 4096..<8192], costs: costs,
        isSparse: false
      ).busySeconds
    }
    let (even, uneven) = (busy(nil), busy([3, 1]))
    #expect(abs(uneven[0] / even[0] - 3) < 1e-9 && uneven[1] == even[1])
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
