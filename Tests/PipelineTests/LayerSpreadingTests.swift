import BackendTesting
import Compute
import Pipeline
import Synchronization
import Testing
import Transformers

/// How layers are spread over devices that differ in speed or in memory.
struct LayerSpreadingTests {
  private static func timing(
    _ layer: Double, behind: Double? = nil, lastRowOnly: Double? = nil
  ) -> LayerTiming {
    LayerTiming(
      rows: 64, keysBefore: 128, layer: layer, behind: behind ?? layer,
      lastRowOnly: lastRowOnly ?? layer, bytes: 100)
  }

  @Test(
    "times that differ no more than from run to run are equal, others are as they were measured")
  func evenness() {
    let even = MeasuredLayers(devices: [1.03, 0.98, 1].map { Self.timing($0) })
    #expect(Set(even.layerSeconds).count == 1)
    #expect(even.slowness == [1, 1, 1])
    // On processors more.
    let timings = [1.1, 0.9].map { Self.timing($0) }
    #expect(MeasuredLayers(devices: timings).slowness[0] > 1.2)
    #expect(MeasuredLayers(devices: timings, isProcessor: true).slowness == [1, 1])
    let uneven = MeasuredLayers(devices: [Self.timing(1, behind: 3), Self.timing(4)])
    #expect(uneven.layerSeconds == [2, 4])
    #expect(uneven.slowness == [1, 2])
  }

  @Test("what layers are planned with are the times and bytes that were measured")
  func model() {
    let measured = MeasuredLayers(
      devices: [Self.timing(1), Self.timing(1, lastRowOnly: 0.25)], output: 256)
    let model = PipelinePlan.Model(PipelinePlanTests.llama, measured)
    #expect(model.layerBytes == 100)
    // 32,768 rows take 512 times as long as 64.
    #expect(abs(model.outputLayers - (-0.75 + 0.5)) < 1e-9)
    let costs = PipelineCosts(
      PipelinePlanTests.llama,
      measured: MeasuredLayers(devices: [
        Self.timing(2, behind: 2 + 64 * 128 * 1e-5), Self.timing(4, lastRowOnly: 1),
      ]), scaling: .core)
    #expect(abs(costs.perPair - 1e-5) < 1e-12)
    let layer = costs.layerSeconds(0..<64, isSparse: false, tokens: 64)
    #expect(abs(layer - 2) < 1e-9)
    #expect(abs(costs.lastLayerSeconds(0..<64) - 0.25 * 64 * costs.perToken) < 1e-9)
  }

  @Test(
    "a device that is slower gets fewer layers, and results stay",
    arguments: [(0, [1, 7]), (1, [7, 1])])
  func slow(stage: Int, layers: [Int]) throws {
    let mesh = try Mesh(layers: 8)
    let pipeline = try LayerPipeline(
      checkpoint: mesh.checkpoint,
      members: mesh.members(.cpu, count: 2) { number, backend in
        number != stage ? backend : InterruptedBackend(backend) { _ in Mesh.work(milliseconds: 10) }
      })
    #expect(pipeline.stageLayers.map(\.count) == layers)
    #expect(pipeline.stageDescriptions.allSatisfy { $0.contains(" ms a layer for ") })
    #expect(pipeline.notices.contains { $0.hasPrefix("layers are spread by measured time: cpu:0") })
    let model = pipeline.makeTransformer()
    let whole = try mesh.whole(.cpu)
    let options = PrefillOptions(chunk: 32)
    func logits(_ model: Transformer) throws -> [Float] {
      try model.prefill(
        Mesh.ids(70), cache: model.makeCache(capacity: 70), options: options
      ).logits
    }
    #expect(try logits(model) == logits(whole))
  }

  /// A device that holds no more weights than some bytes.
  private final class LimitedBackend: ForwardingBackend, @unchecked Sendable {
    private struct Held {
      weak var storage: (any DeviceBuffer)?
      let bytes: Int
    }

    private let held = Mutex<[ObjectIdentifier: Held]>([:])
    let limit: Int
    /// Memory is asked for once, for the plan; it is no concern for what is not weights.
    private let wasAsked = Atomic<Bool>(false)

    init(_ base: any Backend, limit: Int) {
      self.limit = limit
      super.init(base)
    }

    private var bytes: Int {
      held.withLock { held in
        held = held.filter { $0.value.storage != nil }
        return held.values.reduce(0) { $0 + $1.bytes }
      }
    }

    override func availableMemory() throws -> (device: Int, host: Int)? {
      wasAsked.exchange(true, ordering: .relaxed) ? nil : (limit - bytes, 1 << 40)
    }

    override func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
      let weight = try super.prepare(stored, as: role)
      let own = weight.rows * (weight.format.rowByteCount(weight.rowCount) ?? 0)
      guard bytes + own <= limit else {
        throw ComputeError.outOfMemory(wantedBytes: own, purpose: "weights")
      }
      held.withLock {
        $0[ObjectIdentifier(weight.storage)] = Held(storage: weight.storage, bytes: own)
      }
      return weight
    }
  }

  /// Bytes of one of the mesh's layers.
  private func layerBytes(_ mesh: Mesh) throws -> Int {
    try Transformer(
      checkpoint: mesh.checkpoint, backend: Mesh.Kind.reference.make(),
      part: DecoderPart(layers: 0..<1, hasEmbedding: false, hasOutput: false)
    ).layerByteCount
  }

  @Test("a model that fits no single device runs on several, each with what it can hold")
  func memory() throws {
    let mesh = try Mesh(layers: 8)
    let layer = Double(try layerBytes(mesh))
    // The first and the last device hold the embedding too, which is two fifths of a layer.
    let limits = [1.5, 2.2, 6.5].map { Int($0 * layer) }
    let backends = try limits.map { LimitedBackend(try Mesh.Kind.reference.make(), limit: $0) }
    for backend in backends {
      #expect(throws: ComputeError.self) {
        try Transformer(checkpoint: mesh.checkpoint, backend: backend)
      }
    }
    let pipeline = try LayerPipeline(
      checkpoint: mesh.checkpoint,
      members: backends.enumerated().map {
        LayerPipeline.Member(backend: $1, name: "small:\($0)")
      })
    #expect(pipeline.stageLayers == [0..<1, 1..<3, 3..<8])
    let model = pipeline.makeTransformer()
    let whole = try mesh.whole(.reference)
    func logits(_ model: Transformer) throws -> [Float] {
      let cache = try model.makeCache(capacity: 40)
      let first = try model.prefill(
        Mesh.ids(33), cache: cache, options: PrefillOptions(chunk: 16)
      ).logits
      return try first + model.decode(7, cache: cache)
    }
    #expect(try logits(model) == logits(whole))
  }

  @Test("a model that does not fit all devices together is refused with both sizes")
  func tooLarge() throws {
    let mesh = try Mesh(layers: 8)
    let limit = 3 * (try layerBytes(mesh))
    let members = try mesh.members(.reference, count: 2) { LimitedBackend($1, limit: limit) }
    let error = #expect(throws: PipelineError.self) {
      try LayerPipeline(checkpoint: mesh.checkpoint, members: members)
    }
    guard case .doesNotFit(let needed, let available)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(available == 2 * limit && needed > available)
  }
}
