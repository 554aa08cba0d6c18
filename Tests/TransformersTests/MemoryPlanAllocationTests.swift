import BackendTesting
import Checkpoints
import Compute
import SparseAttention
import Synchronization
import Testing
import Transformers

/// Plans against what a run allocates.
@Suite struct MemoryPlanAllocationTests {
  static let tokens = 300

  @Test(arguments: [nil, 96], [KeyValueOptions(), KeyValueOptions(type: .bfloat16)])
  func `the parts of a plan are what a prefill allocates`(
    chunk: Int?, keyValues: KeyValueOptions
  ) throws {
    let checkpoint = try TemporaryCheckpoint()
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    backend.forget()
    let cache = try model.makeCache(capacity: Self.tokens, keyValues: keyValues, chunk: chunk)
    let plan = try #require(cache.memoryPlan)
    _ = try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: cache,
      options: PrefillOptions(chunk: chunk, rowBlock: AllocationRecorder.rowBlock))
    #expect(backend.most(for: "the keys and") == plan.parts.keyValues)
    #expect(backend.most(for: "the hidden states") == plan.parts.hiddenStates)
    #expect(backend.most(for: "activations") == plan.parts.activations)
    // Of a row's logits there are also the normed hidden states that they are made from.
    #expect(backend.most(for: "the logits") == plan.parts.logits + 32 * 2)
    #expect(plan.parts.linearInputs == 0 && plan.parts.staging == 0)
    #expect(plan.deviceBytes == plan.parts.sum)
    let planned = plan.deviceBytes - plan.parts.reserve - plan.parts.estimation
    #expect(backend.mostBytes <= planned + 32 * 2)
    #expect(backend.mostBytes > planned - plan.parts.logits - 1)
  }

  @Test(arguments: [nil, 128])
  func `queries that are kept are those of a chunk`(chunk: Int?) throws {
    let checkpoint = try TemporaryCheckpoint()
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    backend.forget()
    let planner = AttentionPlanner(
      configuration: .uniform(
        HeadPattern(PooledBlocks(rule: ShareRule(share: 0.5), columns: 0, last: 0)), layers: 2,
        heads: 4), exact: true)
    let cache = try model.makeCache(capacity: Self.tokens, chunk: chunk, planner: planner)
    let plan = try #require(cache.memoryPlan)
    _ = try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: cache,
      options: PrefillOptions(
        planner: planner, chunk: chunk, rowBlock: AllocationRecorder.rowBlock))
    #expect(plan.keepsQueries && plan.parts.queries > 0)
    #expect(backend.most(for: "the queries") == plan.parts.queries)
  }

  @Test func `queries that are kept give what queries made twice give`() throws {
    let checkpoint = try TemporaryCheckpoint()
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    let planner = AttentionPlanner(
      configuration: .uniform(
        HeadPattern(PooledBlocks(rule: ShareRule(share: 0.5), columns: 9, last: 0)), layers: 2,
        heads: 4), exact: true)
    func logits(keeping: Bool) throws -> [Float] {
      let cache = try model.makeCache(capacity: Self.tokens, planner: planner)
      let plan = try #require(cache.memoryPlan)
      #expect(plan.keepsQueries == keeping)
      backend.forget()
      let result = try model.prefill(
        TemporaryCheckpoint.ids(Self.tokens), cache: cache,
        options: PrefillOptions(planner: planner, rowBlock: 2 * AllocationRecorder.rowBlock))
      #expect(backend.most(for: "the queries") == plan.parts.queries)
      backend.available = plan.deviceBytes - 1
      return result.logits
    }
    #expect(try logits(keeping: true) == logits(keeping: false))
  }

  /// Chunks of 64 or of 192 positions: two regions at most, or five.
  @Test(arguments: [64, 192])
  func `the regions of dual chunk attention are planned as they are allocated`(stride: Int) throws {
    let checkpoint = try TemporaryCheckpoint(fields: [
      "dual_chunk_attention_config":
        #"{"chunk_size": \#(stride + 32), "local_size": 32}"#
    ])
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    backend.forget()
    let cache = try model.makeCache(capacity: Self.tokens)
    let plan = try #require(cache.memoryPlan)
    _ = try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: cache,
      options: PrefillOptions(rowBlock: AllocationRecorder.rowBlock))
    // For blocks of 64 rows; cut at a region's end they are shorter.
    let most = backend.most(for: "the parts of")
    #expect(most > 0 && most <= plan.parts.regions && most % (plan.parts.regions / 64) == 0)
    #expect(backend.most(for: "the hidden states") == plan.parts.hiddenStates)
    #expect(plan.parts.regions > 0 && plan.deviceBytes == plan.parts.sum)
  }

  @Test("The experts' part of a plan is what a prefill allocates for them")
  func plansExperts() throws {
    let checkpoint = try TemporaryCheckpoint.experts()
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    backend.forget()
    let cache = try model.makeCache(capacity: Self.tokens)
    let plan = try #require(cache.memoryPlan)
    _ = try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: cache,
      options: PrefillOptions(rowBlock: AllocationRecorder.rowBlock))
    #expect(backend.most(for: "experts' activations") == plan.parts.experts)
    #expect(plan.parts.experts > 0 && plan.deviceBytes == plan.parts.sum)
    #expect(backend.most(for: "activations") == plan.parts.activations)
  }

  @Test func `estimation takes no more than the plan allows`() throws {
    let checkpoint = try TemporaryCheckpoint()
    let backend = AllocationRecorder()
    let model = try Transformer(
      checkpoint: try Checkpoint(directory: checkpoint.directory), backend: backend)
    backend.forget()
    let planner = AttentionPlanner(
      configuration: .uniform(.verticalSlash(vertical: 9, slash: 5), layers: 2, heads: 4),
      exact: true)
    let cache = try model.makeCache(capacity: Self.tokens, planner: planner)
    let plan = try #require(cache.memoryPlan)
    _ = try model.prefill(
      TemporaryCheckpoint.ids(Self.tokens), cache: cache,
      options: PrefillOptions(planner: planner, rowBlock: AllocationRecorder.rowBlock))
    #expect(backend.mostBytes <= plan.deviceBytes - plan.parts.reserve + 32 * 2)
    // The sums of four heads.
    let sums = 4 * EstimatedIndexSizes(keys: Self.tokens).sumBytes
    #expect(backend.most(for: "estimation") == sums && sums < plan.parts.estimation)
  }
}

/// The reference with bfloat16 activations, as a device with memory of its own, which counts the bytes that
/// are taken at a time.
private final class AllocationRecorder: ForwardingBackend, @unchecked Sendable {
  static let rowBlock = 64
  private let state = Mutex(State())

  private struct State {
    var available = 8 << 30
    var live: [Entry] = []
    var most: [String: Int] = [:]
    var mostBytes = 0
  }

  private struct Entry {
    weak var buffer: (any DeviceBuffer)?
    let bytes: Int
    let purpose: String
  }

  init() {
    super.init(
      ReferenceBackend(tile: TileShape(rows: 16, columns: 8), activationType: .bfloat16))
  }

  override var name: String { "recorder" }

  override var capabilities: DeviceCapabilities {
    var capabilities = super.capabilities
    capabilities.rowBlock = Self.rowBlock
    return capabilities
  }

  override func availableMemory() throws -> (device: Int, host: Int)? { (available, 8 << 30) }

  /// Bytes that are said to be free.
  var available: Int {
    get { state.withLock(\.available) }
    set { state.withLock { $0.available = newValue } }
  }

  /// The most bytes that were taken at a time.
  var mostBytes: Int { state.withLock(\.mostBytes) }

  /// The most bytes that were taken at a time by tensors whose purpose begins so.
  func most(for purpose: String) -> Int {
    state.withLock { $0.most.first { $0.key.hasPrefix(purpose) }?.value ?? 0 }
  }

  /// Counts from here on; what is taken already is not counted.
  func forget() { state.withLock { $0 = State(available: $0.available) } }

  override func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    let tensor = try base.makeTensor(type, shape, purpose: purpose)
    record(tensor, purpose: purpose)
    return tensor
  }

  override func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> DeviceRowSums {
    let sums = try base.lastRowSums(
      q: q, firstPosition: firstPosition, layer: layer, shape: shape, heads: heads)
    for tensor in [sums.vertical, sums.slash] { record(tensor, purpose: "estimation") }
    return sums
  }

  private func record(_ tensor: Tensor, purpose: String) {
    // "activations of 64 rows", "the logits of 1 rows": the words count.
    let kind = purpose.split(separator: " ").prefix(3).joined(separator: " ")
    state.withLock { state in
      state.live.removeAll { $0.buffer == nil }
      state.live.append(Entry(buffer: tensor.buffer, bytes: tensor.byteCount, purpose: kind))
      state.mostBytes = max(state.mostBytes, state.live.reduce(0) { $0 + $1.bytes })
      let bytes = state.live.reduce(0) { $0 + ($1.purpose == kind ? $1.bytes : 0) }
      state.most[kind] = max(state.most[kind] ?? 0, bytes)
    }
  }

  override func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    try TensorKeyValueStore(layers: layers, extents: extents, options: options, backend: self)
  }

  override func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    try makeTensor(.bfloat16, shape, purpose: purpose)
  }
}
